/* SYSTEM RELOAD CONFIG and SYSTEM RELOAD USERS, and a reload when the configuration's files change, as a server has them.
 * Read again are users, <remote_servers> and <macros>; other settings take a restart.
 */
enum {
    RELOAD_CONFIG = 0x14182340,    /* Context::reloadConfig(this): calls a callback that `local` does not set */
    RELOAD_REFUSED = 0x1482546b,   /* InterpreterSystemQuery: je to the exception for `local` */
    CONFIG_PROCESSOR = 0x18e7ea80, /* ConfigProcessor(this, const string &path, bool throw_on_bad_incl, bool log_to_console,
                                      const vector<...> &substitutions, bool throw_on_bad_include_from) */
    CONFIG_PROCESSOR_SIZE = 0x150, /* at most */
    CONFIG_PROCESSOR_END = 0xf0f5200, /* ~ConfigProcessor(this) */
    LOAD_CONFIG = 0x18e88f80,         /* LoadedConfig loadConfig(this, bool allow_zk_includes, bool is_config_changed) */
    GET_ACCESS_CONTROL = 0x14161200,  /* Context::getAccessControl(this) */
    ACCESS_RELOAD = 0x12d3a400,       /* AccessControl::reload(this, mode) */
    USERS_RELOAD = 0x12e0cf40,        /* UsersConfigAccessStorage::reload(this, mode): does nothing in `local` */
    MUTEX_LOCK = 0x20f1cd00,          /* std::mutex::lock(), unlock() */
    MUTEX_UNLOCK = 0x20f1cd80,
    SHARED_CLUSTERS_MUTEX = 0x11b0,  /* in ContextSharedPart */
    SHARED_CLUSTERS_CONFIG = 0x11e8, /* in ContextSharedPart: ConfigurationPtr, null in `local` */
    RELOAD_CLUSTERS = 0x1417db00,    /* Context::reloadClusterConfig(this) */
    MAKE_MACROS = 0xf10dd40,         /* unique_ptr<Macros> make_unique(const AbstractConfiguration &, const char *, Logger **) */
    SET_MACROS = 0x1416dc80,         /* Context::setMacros(this, unique_ptr<Macros> *) */
    GET_LOGGER = 0xef93040,          /* shared_ptr<Logger> getLogger(const string &) */
    RELOAD_SECONDS = 2,              /* a server's default of config_reload_interval_ms */
};

static char *config_path, *users_path; /* the files themselves, not the launcher's */

/* Called by SYSTEM RELOAD CONFIG, too. A configuration that cannot be read is an exception of the engine. */
static void reload_config(void *context) {
    char processor[CONFIG_PROCESSOR_SIZE + 64], *shared = shared_part();
    struct { void *configuration; char has_includes, preprocessed; void *document; union string path; char room[64]; } loaded = {0};
    struct vector no_substitutions = {0};
    union string path, name;
    set_string(&path, config_path);
    ((void (*)(void *, union string *, int, int, struct vector *, int))(base + CONFIG_PROCESSOR))(
        processor, &path, 0, 0, &no_substitutions, 1);
    free_string(&path);
    ((void (*)(void *, void *, int, int))(base + LOAD_CONFIG))(&loaded, processor, 0, 1);
    ((void (*)(void *))(base + CONFIG_PROCESSOR_END))(processor);
    /* The configuration that this one replaces, and its document, are not freed: somebody may be reading them. */
    ((void (*)(void *))(base + MUTEX_LOCK))(shared + SHARED_CLUSTERS_MUTEX);
    *(void **)(shared + SHARED_CLUSTERS_CONFIG) = loaded.configuration;
    ((void (*)(void *))(base + MUTEX_UNLOCK))(shared + SHARED_CLUSTERS_MUTEX);
    set_string(&name, "reload");
    void *logger = ((struct pair (*)(union string *))(base + GET_LOGGER))(&name).first;
    void *macros = ((void *(*)(void *, const char *, void **))(base + MAKE_MACROS))(loaded.configuration, "macros", &logger);
    ((void (*)(void *, void **))(base + SET_MACROS))(context, &macros);
    ((void (*)(void *))(base + RELOAD_CLUSTERS))(context);
    void *access_control = ((void *(*)(void *))(base + GET_ACCESS_CONTROL))(context);
    ((void (*)(void *, int))(base + ACCESS_RELOAD))(access_control, RELOAD_USERS_CONFIG_ONLY);
}

/* AccessControl::reload() calls this, then tells all sessions what has changed. */
static void reload_users(void *storage, int mode) {
    (void)storage, (void)mode;
    if (local_server)
        original_setup_users(local_server);
}

/* Changes with the file: an editor or a rename gives it another time, size or inode. */
static uint64_t file_stamp(const char *path) {
    struct stat status;
    if (stat(path, &status))
        return 0;
    uint64_t stamp = status.st_ino;
    stamp = stamp * 1000003 + (uint64_t)status.st_size;
    stamp = stamp * 1000003 + (uint64_t)status.st_mtim.tv_sec;
    return stamp * 1000003 + (uint64_t)status.st_mtim.tv_nsec;
}

/* A configuration file and the files in <name>.d/ beside it. */
static uint64_t configuration_stamp(const char *file) {
    char folder_path[4096], path[8192];
    const char *dot = strrchr(file, '.');
    snprintf(folder_path, sizeof folder_path, "%.*s.d", (int)(dot ? (size_t)(dot - file) : strlen(file)), file);
    uint64_t stamp = file_stamp(file);
    DIR *folder = opendir(folder_path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        snprintf(path, sizeof path, "%s/%s", folder_path, entry->d_name);
        stamp += file_stamp(path); /* a sum: the order of entries is not fixed */
    }
    if (folder)
        closedir(folder);
    return stamp;
}

static void *watch_configuration(void *unused) {
    (void)unused;
    uint64_t known = configuration_stamp(config_path) + configuration_stamp(users_path);
    for (;;) {
        sleep(RELOAD_SECONDS);
        uint64_t now = configuration_stamp(config_path) + configuration_stamp(users_path);
        if (now == known)
            continue;
        known = now;
        if (catches(reload_config, global_context().first))
            fprintf(stderr, "clickhouse engine: cannot read the changed configuration, the one before stays in use\n");
    }
    return 0;
}

/* Called for each listener. */
static void start_watch(void) {
    static int started;
    if (local_server && !started++)
        start_thread(watch_configuration);
}

static void switch_on_reload(void) {
    write_jump(base + RELOAD_CONFIG, (void *)reload_config);
    write_jump(base + USERS_RELOAD, (void *)reload_users);
    write_code(base + RELOAD_REFUSED, "\x66\x0f\x1f\x44\x00\x00", 6); /* je -> nop */
}
