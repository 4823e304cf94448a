/* Asynchronous metrics: `local` makes the object and never updates it. For <prometheus> and system.asynchronous_metric_log. */
enum {
    METRICS_UPDATE = 0xf1affc0, /* AsynchronousMetrics::update(this, microseconds since 1970, bool force) */
    METRICS_STOP = 0xf1c1140,   /* AsynchronousMetrics::stop(this) */
    METRICS_STOP_PROLOGUE = 16,
    METRICS_LOGGERS = 0xf1c0043, /* in update(): dynamic_cast<Loggers &> of the application, which `local` is not */
    METRICS_PERIOD = 8,          /* in AsynchronousMetrics: seconds */
    SHARED_METRICS = 0x720,      /* in ContextSharedPart, for SYSTEM RELOAD ASYNCHRONOUS METRICS */
};

static long metrics_period; /* seconds; 0: the configuration uses no asynchronous metrics */
static void *metrics;       /* null before the start and after the end */
static pthread_mutex_t metrics_mutex = PTHREAD_MUTEX_INITIALIZER;
static void (*original_metrics_stop)(void *);

static void update_metrics(void *this) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    ((void (*)(void *, long, int))(base + METRICS_UPDATE))(this, now.tv_sec * 1000000 + now.tv_nsec / 1000, 0);
}

static void *run_metrics(void *unused) {
    int failed = 0;
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&metrics_mutex);
        if (metrics && catches(update_metrics, metrics) && !failed++)
            fprintf(stderr, "clickhouse engine: an update of the asynchronous metrics failed\n");
        int over = !metrics;
        pthread_mutex_unlock(&metrics_mutex);
        if (over)
            return 0;
        sleep((unsigned)metrics_period);
    }
}

static void stop_metrics(void *this) {
    pthread_mutex_lock(&metrics_mutex);
    metrics = 0;
    pthread_mutex_unlock(&metrics_mutex);
    original_metrics_stop(this);
}

/* Called for each listener. */
static void start_metrics(void *asynchronous_metrics) {
    if (metrics || !metrics_period || !local_server)
        return;
    metrics = asynchronous_metrics;
    *(long *)((char *)metrics + METRICS_PERIOD) = metrics_period;
    *(void **)(shared_part() + SHARED_METRICS) = metrics;
    start_thread(run_metrics);
}

static void switch_on_metrics(void) {
    write_code(base + METRICS_LOGGERS, "\x45\x31\xff\xe9\x3b\x01\x00\x00", 8); /* xor r15d, r15d; jmp 0xf1c0186: no loggers */
    original_metrics_stop = hook(METRICS_STOP, METRICS_STOP_PROLOGUE, (void *)stop_metrics);
}
