/* ON CLUSTER and databases of engine Replicated: the engine has both, `local` only does not start what they need. */
enum {
    /* DDLWorker(this, int pool_size, const string &queue_dir, const string &replicas_dir, ContextPtr, const AbstractConfiguration *,
       const string &prefix, const string &zookeeper_name, const string &logger_name, const Metric *max_entry, const Metric *max_pushed_entry) */
    DDL_WORKER = 0x14243400,
    DDL_WORKER_SIZE = 0x2f0,
    DDL_WORKER_STARTUP = 0x14245300, /* DDLWorker::startup(this) */
    CATALOG = 0x1426b0c0,            /* DatabaseCatalog::instance() */
    CATALOG_DDL_ENABLED = 0x910,     /* in it: the bool that startReplicatedDDLQueries() sets */
    CREATE_TABLES_POOL = 0xf1ce5c0,  /* getDatabaseReplicatedCreateTablesThreadPool() */
    POOL_INITIALIZE = 0xf1cd280,     /* StaticThreadPool::initialize(this, max_threads, max_free_threads, queue_size) */
    SHARED_DDL_WORKER = 0xd80,       /* in ContextSharedPart: unique_ptr<DDLWorker> */
};

static char *ddl_queue, *ddl_replicas; /* nodes in ZooKeeper; null: the configuration has no <distributed_ddl> */
static int ddl_pool_size;

/* Before the metadata of databases is loaded. */
static void start_create_tables_pool(void) {
    void *pool = ((void *(*)(void))(base + CREATE_TABLES_POOL))();
    ((void (*)(void *, size_t, size_t, size_t))(base + POOL_INITIALIZE))(pool, 1, 0, 1);
}

/* Called for each listener: when the first one opens, all databases are loaded. */
static void start_ddl(void *configuration) {
    static int started;
    static union string queue, replicas, prefix, zookeeper, logger;
    if (!local_server || started++)
        return;
    ((char *(*)(void))(base + CATALOG))()[CATALOG_DDL_ENABLED] = 1;
    if (!ddl_queue)
        return;
    set_string(&queue, ddl_queue);
    set_string(&replicas, ddl_replicas);
    set_string(&prefix, "distributed_ddl");
    set_string(&zookeeper, "default");
    set_string(&logger, "DDLWorker");
    struct pair context = global_context();
    __atomic_add_fetch((long *)context.second + 1, 1, __ATOMIC_SEQ_CST); /* the constructor releases its argument */
    void *worker = ((void *(*)(size_t))(base + OPERATOR_NEW))(DDL_WORKER_SIZE);
    ((void (*)(void *, int, union string *, union string *, void *, void *, void *, union string *, union string *,
               union string *, void *, void *))(base + DDL_WORKER))(
        worker, ddl_pool_size, &queue, &replicas, context.first, context.second, configuration, &prefix, &zookeeper, &logger, 0, 0);
    *(void **)(shared_part() + SHARED_DDL_WORKER) = worker; /* the context deletes it at the end */
    ((void (*)(void *))(base + DDL_WORKER_STARTUP))(worker);
}
