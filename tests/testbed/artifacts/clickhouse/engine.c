/* GNU General Public License v3.0+ (see LICENSE)
 *
 * Runs ClickHouse's own engine (libchdb.so) as `clickhouse local`, and with GROUNDWORK_SETTINGS set switches on what a
 * server has and `local` leaves off: the interserver server, its address and credentials, the server's UUID,
 * system.zookeeper, and what the headers beside this file describe. Also a connection that fails does not end the process,
 * as `local` wants it.
 *
 *   engine LIBCHDB [argument of clickhouse local ...]
 *
 * The addresses below are right for exactly one build; the front-end checks the build id before it comes here.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    GET_CREDENTIALS = 0x1417c940,
    GET_IO_ADDRESS = 0x1417c9c0,
    GET_SCHEME = 0x1417cac0,
    IS_VALID_USER = 0x14440cc0,
    CREATE_HANDLER_FACTORY = 0x18395cc0,
    HTTP_HANDLER_BEGIN = 0x183d5240, /* the interserver HTTP handler's use of the credentials */
    HTTP_HANDLER_END = 0x183d5600,
    OPERATOR_NEW = 0xeeebe00,
    OPERATOR_DELETE = 0xeeec540, /* (pointer, size) */
    SETUP_USERS = 0xf0fc780,     /* LocalServer::setupUsers(this): reads the users' configuration */
    SETUP_USERS_PROLOGUE = 17,
    GLOBAL_CONTEXT = 0x40, /* in LocalServer: shared_ptr<Context>; a Context's first word points to its ContextSharedPart */
    SERVER_UUID = 0x228a3a48,
    MAX_RULES = 256,
    MAX_FDS = 65536,
    FACTORY_PROLOGUE = 17, /* whole instructions without relative addresses, room for a jump */
    AUTHENTICATE_PROLOGUE = 16,
    AUTHENTICATE = 0x144e7fc0, /* Session::authenticate(this, user, password, address, roles, ...) */
    /* attachSystemTablesServer(): the two branches taken when has_zookeeper is set, and when it is not */
    HAS_ZOOKEEPER = 0x11e7d951,
    HAS_NO_ZOOKEEPER = 0x11e7d988,
    /* KillingErrorHandler::exception(), all three of them: std::terminate() for an exception that leaves a connection */
    END_FOR_AN_EXCEPTION = 0xf113480,
};

struct result { char *buf; size_t len; void *vec; double elapsed; uint64_t rows, bytes; char *error; };
struct pair { void *first, *second; }; /* also std::shared_ptr: object, control block */
struct vector { void *begin, *end, *capacity; };
/* libc++'s std::string: up to 22 characters in place with the length in the last byte, or pointer, size, capacity */
union string { char in_place[24]; struct { char *data; size_t size, capacity; } out; };
struct rule { struct sockaddr_storage from, to; char label[16]; };
enum { RELOAD_ALL = 0, RELOAD_USERS_CONFIG_ONLY = 1 }; /* IAccessStorage::ReloadMode */

static char *base, *host, *scheme, *user, *password, *session_password;
static uint16_t port;
static struct rule rules[MAX_RULES];
static struct sockaddr_storage peers[MAX_FDS]; /* real client of a connection that stunnel made, else family 0 */
static char behind_stunnel[MAX_FDS];           /* listeners */
static int rule_count, report;
static const char *next_factory; /* what the next HTTP listener serves; null: what clients use */
static void *local_server;       /* LocalServer, when its users are set up */
static int (*real_bind)(int, const struct sockaddr *, socklen_t);
static int (*real_accept)(int, struct sockaddr *, socklen_t *);
static int (*real_getpeername)(int, struct sockaddr *, socklen_t *);
static int (*real_socket)(int, int, int);
static struct { union string user, password; char unused[256]; } credentials;
static struct { void *vtable; long owners, weak; } control = {0, 1L << 40, 1L << 40};
static struct pair (*original_factory)(void *, void *, void *, union string *, union string *);
static void (*original_authenticate)(void *, union string *, union string *, void *, void *, void *);
static void (*original_setup_users)(void *);

static void set_string(union string *s, const char *text) {
    size_t size = strlen(text);
    memset(s, 0, sizeof *s);
    if (size <= 22) {
        memcpy(s->in_place, text, size);
        s->in_place[23] = (char)size;
        return;
    }
    s->out.capacity = (size + 16) & ~15UL;
    s->out.data = ((void *(*)(size_t))(base + OPERATOR_NEW))(s->out.capacity);
    s->out.capacity |= 1UL << 63;
    s->out.size = size;
    memcpy(s->out.data, text, size + 1);
}

static void free_string(union string *s) {
    if (s->in_place[23] < 0)
        ((void (*)(void *, size_t))(base + OPERATOR_DELETE))(s->out.data, s->out.capacity & ~(1UL << 63));
}

static const char *string_data(const union string *s, size_t *size) {
    int in_place = s->in_place[23] >= 0;
    *size = in_place ? (size_t)s->in_place[23] : s->out.size;
    return in_place ? s->in_place : s->out.data;
}

static int equals(const union string *s, const char *text) {
    size_t size;
    const char *data = string_data(s, &size);
    return size == strlen(text) && !memcmp(data, text, size);
}

struct io_address { union string host; uint16_t port; };
static void *get_io_address(struct io_address *out) { set_string(&out->host, host); out->port = port; return out; }
static void *get_scheme(union string *out) { set_string(out, scheme); return out; }

static struct pair get_credentials(void) {
    char *caller = __builtin_return_address(0);
    if (!*user && caller >= base + HTTP_HANDLER_BEGIN && caller < base + HTTP_HANDLER_END)
        return (struct pair){0, 0};
    __atomic_add_fetch(&control.owners, 1, __ATOMIC_SEQ_CST);
    return (struct pair){&credentials, &control};
}

struct verdict { union string message; char valid; };
static void *is_valid_user(struct verdict *out, void *this, union string *name, union string *word) {
    (void)this;
    out->valid = equals(name, user) && equals(word, password);
    set_string(&out->message, out->valid ? "" : "Incorrect user or password in HTTP basic authentication");
    return out;
}

/* The first session is the engine's own, as `default` without a password, which the configuration may lack or limit. */
static void authenticate(void *this, union string *name, union string *word, void *address, void *roles, void *more) {
    if (session_password) {
        set_string(name, "_engine");
        set_string(word, session_password);
        session_password = 0;
    }
    original_authenticate(this, name, word, address, roles, more);
}

static in_port_t *port_of(struct sockaddr_storage *a) {
    return a->ss_family == AF_INET6 ? &((struct sockaddr_in6 *)a)->sin6_port : &((struct sockaddr_in *)a)->sin_port;
}

static int same(const struct sockaddr *a, const struct sockaddr_storage *b) {
    if (a->sa_family != b->ss_family)
        return 0;
    if (a->sa_family == AF_INET6) {
        const struct sockaddr_in6 *x = (const void *)a, *y = (const void *)b;
        return x->sin6_port == y->sin6_port && !memcmp(&x->sin6_addr, &y->sin6_addr, 16);
    }
    const struct sockaddr_in *x = (const void *)a, *y = (const void *)b;
    return a->sa_family == AF_INET && x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
}

static void fail(const char *what, const char *why) {
    fprintf(stderr, "clickhouse engine: %s: %s\n", what, why);
    exit(70);
}

static void write_code(void *where, const void *bytes, size_t size) {
    char *page = (char *)((uintptr_t)where & ~4095UL);
    size_t length = (size_t)((char *)where + size - page);
    if (mprotect(page, length, PROT_READ | PROT_WRITE))
        fail("mprotect", strerror(errno));
    memcpy(where, bytes, size);
    mprotect(page, length, PROT_READ | PROT_EXEC);
}

static void write_jump(char *where, const void *target) {
    char code[14] = {(char)0xff, 0x25}; /* jmp *(rip+0), then the address */
    memcpy(code + 6, &target, 8);
    write_code(where, code, sizeof code);
}

/* Put ours in place of a function, return a way to call the function itself. */
static void *hook(uintptr_t offset, size_t prologue, void *ours) {
    char *function = base + offset;
    char *trampoline = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (trampoline == MAP_FAILED)
        fail("mmap", strerror(errno));
    memcpy(trampoline, function, prologue);
    write_jump(trampoline + prologue, function + prologue);
    write_jump(function, ours);
    return trampoline;
}

/* sscanf and atoi would tie the program to the glibc of the machine that compiled it. */
static uint64_t number(const char *text, unsigned base_, size_t size) {
    uint64_t value = 0;
    for (; *text && size--; text++)
        value = value * base_ + (unsigned)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
    return value;
}

static void address(struct sockaddr_storage *out, const char *text, const char *port_text) {
    int v6 = strchr(text, ':') != 0;
    out->ss_family = v6 ? AF_INET6 : AF_INET;
    *port_of(out) = htons((uint16_t)number(port_text, 10, 5));
    void *v4_address = &((struct sockaddr_in *)out)->sin_addr, *v6_address = &((struct sockaddr_in6 *)out)->sin6_addr;
    if (inet_pton(out->ss_family, text, v6 ? v6_address : v4_address) != 1)
        fail("not an address", text);
}

/* `bind <address> <port> <address instead> <port instead> <label>` */
static void add_rule(char *text) {
    struct rule *rule = rules + rule_count++;
    char *words[5], *rest = text;
    for (int i = 0; i < 5; i++)
        if (rule_count > MAX_RULES || !(words[i] = strsep(&rest, " ")))
            fail("bind", text);
    address(&rule->from, words[0], words[1]);
    address(&rule->to, words[2], words[3]);
    strncpy(rule->label, words[4], sizeof rule->label - 1);
}

/* The executable's definitions of libc's functions win: the engine's listeners go where the front-end wants them. */
int bind(int fd, const struct sockaddr *address, socklen_t size) {
    for (int i = 0; i < rule_count; i++) {
        struct rule *rule = rules + i;
        if (!same(address, &rule->from))
            continue;
        struct sockaddr_storage bound = rule->to;
        if (real_bind(fd, (struct sockaddr *)&bound, size))
            return -1;
        getsockname(fd, (struct sockaddr *)&bound, &size);
        if (strcmp(rule->label, "-")) {
            dprintf(report, "%s %d\n", rule->label, ntohs(*port_of(&bound)));
            behind_stunnel[fd] = !*port_of(&rule->to);
        }
        if (!strcmp(rule->label, "interserver")) next_factory = "InterserverIOHTTPHandler-factory";
        else if (!strcmp(rule->label, "prometheus")) next_factory = "PrometheusHandler-factory";
        else next_factory = 0;
        return 0;
    }
    return real_bind(fd, address, size);
}

/* stunnel says first who its client is: `PROXY TCP4 <address> <server's address> <port> <server's port>\r\n`. */
static void read_proxy_line(int fd) {
    char line[108], *words[6], *rest = line;
    size_t size = 0;
    struct pollfd waiting = {fd, POLLIN, 0};
    while (size < sizeof line - 1 && poll(&waiting, 1, 2000) > 0 && recv(fd, line + size, 1, 0) == 1)
        if (line[size++] == '\n')
            break;
    line[size] = 0;
    for (int i = 0; i < 6; i++)
        if (!(words[i] = strsep(&rest, " \r")))
            return;
    if (!strcmp(words[0], "PROXY"))
        address(peers + fd, words[2], words[4]);
}

int accept(int listener, struct sockaddr *from, socklen_t *size) {
    int fd = real_accept(listener, from, size);
    if (fd >= 0 && fd < MAX_FDS) {
        peers[fd].ss_family = 0;
        if (listener < MAX_FDS && behind_stunnel[listener])
            read_proxy_line(fd);
    }
    return fd;
}

int socket(int domain, int type, int protocol) {
    int fd = real_socket(domain, type, protocol);
    if (fd >= 0 && fd < MAX_FDS)
        peers[fd].ss_family = 0;
    return fd;
}

int getpeername(int fd, struct sockaddr *out, socklen_t *size) {
    if (fd < 0 || fd >= MAX_FDS || !peers[fd].ss_family)
        return real_getpeername(fd, out, size);
    socklen_t full = peers[fd].ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    memcpy(out, peers + fd, *size < full ? *size : full);
    *size = full;
    return 0;
}

static struct pair global_context(void) { return *(struct pair *)((char *)local_server + GLOBAL_CONTEXT); }
static char *shared_part(void) { return *(char **)global_context().first; }

static void start_thread(void *(*function)(void *)) {
    pthread_t thread;
    int error = pthread_create(&thread, 0, function, 0);
    if (error)
        fail("pthread_create", strerror(error));
    pthread_detach(thread);
}

#include "exceptions.h"
#include "access.h"
#include "ddl.h"
#include "metrics.h"
#include "reload.h"

static void setup_users(void *server) {
    if (!local_server)
        start_create_tables_pool();
    local_server = server;
    original_setup_users(server);
}

static struct pair create_handler_factory(
    void *server, void *config, void *asynchronous_metrics, union string *name, union string *handlers) {
    union string factory;
    start_metrics(asynchronous_metrics);
    start_ddl(config);
    start_watch();
    if (next_factory) {
        set_string(&factory, next_factory);
        next_factory = 0;
        name = &factory; /* never freed: one string a listener */
    }
    return original_factory(server, config, asynchronous_metrics, name, handlers);
}

/* A server with a ZooKeeper has system.zookeeper: always take the branch that attaches it. */
static void attach_zookeeper_tables(void) {
    write_code(base + HAS_ZOOKEEPER, "\xeb", 1);                               /* jne -> jmp */
    write_code(base + HAS_NO_ZOOKEEPER, "\x66\x0f\x1f\x44\x00\x00", 6); /* je -> nop */
}

/* `local` ends when a connection throws: a client that goes before its answer, a wrong password on the native port. */
static void survive_connections(void) { write_code(base + END_FOR_AN_EXCEPTION, "\xc3", 1); /* ret */ }

/* Lines `key value`; the file holds the interserver password, so it is neither in argv nor in the environment. */
static void read_settings(const char *path) {
    static char line[4096];
    FILE *file = fopen(path, "r");
    if (!file)
        fail(path, strerror(errno));
    user = password = "";
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *value = line, *key = strsep(&value, " ");
        if (!value) fail("setting without a value", key);
        else if (!strcmp(key, "bind")) add_rule(value);
        else if (!strcmp(key, "uuid")) { /* two 64-bit halves, high one first */
            uint64_t *uuid = (uint64_t *)(base + SERVER_UUID);
            uuid[0] = number(value, 16, 16);
            uuid[1] = number(value + 16, 16, 16);
        } else if (!strcmp(key, "host")) host = strdup(value);
        else if (!strcmp(key, "port")) port = (uint16_t)number(value, 10, 5);
        else if (!strcmp(key, "scheme")) scheme = strdup(value);
        else if (!strcmp(key, "user")) user = strdup(value);
        else if (!strcmp(key, "password")) password = strdup(value);
        else if (!strcmp(key, "session")) session_password = strdup(value);
        else if (!strcmp(key, "zookeeper")) attach_zookeeper_tables();
        else if (!strcmp(key, "access")) access_folder = strdup(value);
        else if (!strcmp(key, "config")) config_path = strdup(value);
        else if (!strcmp(key, "users")) users_path = strdup(value);
        else if (!strcmp(key, "metrics")) metrics_period = (long)number(value, 10, 9);
        else if (!strcmp(key, "ddl_queue")) ddl_queue = strdup(value);
        else if (!strcmp(key, "ddl_replicas")) ddl_replicas = strdup(value);
        else if (!strcmp(key, "ddl_pool_size")) ddl_pool_size = (int)number(value, 10, 5);
        else if (!strcmp(key, "report")) report = (int)number(value, 10, 5);
        else fail("unknown setting", key);
    }
    fclose(file);
}

static void switch_on_replication(void) {
    set_string(&credentials.user, user);
    set_string(&credentials.password, password);
    write_jump(base + GET_IO_ADDRESS, (void *)get_io_address);
    write_jump(base + GET_SCHEME, (void *)get_scheme);
    write_jump(base + GET_CREDENTIALS, (void *)get_credentials);
    write_jump(base + IS_VALID_USER, (void *)is_valid_user);
}

static void real_functions(void) {
    const struct { const char *name; void *pointer; } all[] = {
        {"bind", &real_bind}, {"accept", &real_accept}, {"getpeername", &real_getpeername}, {"socket", &real_socket}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        void *function = dlsym(RTLD_NEXT, all[i].name);
        memcpy(all[i].pointer, &function, sizeof function);
    }
}

int main(int argc, char **argv) {
    if (argc < 2)
        fail("usage", "engine LIBCHDB [argument ...]");
    real_functions();
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
    if (!library)
        fail("cannot load the engine", dlerror());
    struct link_map *map;
    dlinfo(library, RTLD_DI_LINKMAP, &map);
    base = (char *)map->l_addr;
    if (getenv("GROUNDWORK_SETTINGS")) {
        signal(SIGTERM, SIG_IGN); /* systemd signals the whole group; the end of its stdin ends the engine */
        signal(SIGINT, SIG_IGN);
        read_settings(getenv("GROUNDWORK_SETTINGS"));
        survive_connections();
        original_setup_users = hook(SETUP_USERS, SETUP_USERS_PROLOGUE, (void *)setup_users);
        original_factory = hook(CREATE_HANDLER_FACTORY, FACTORY_PROLOGUE, (void *)create_handler_factory);
        original_authenticate = hook(AUTHENTICATE, AUTHENTICATE_PROLOGUE, (void *)authenticate);
        if (host)
            switch_on_replication();
        if (access_folder)
            switch_on_access();
        if (metrics_period)
            switch_on_metrics();
        switch_on_reload();
    }
    struct result *(*query)(int, char **) = (struct result *(*)(int, char **))dlsym(library, "query_stable_v2");
    if (!query)
        fail("cannot load the engine", dlerror());
    argv[1] = "clickhouse";
    struct result *result = query(argc - 1, argv + 1);
    fwrite(result->buf, 1, result->buf ? result->len : 0, stdout);
    fflush(stdout);
    if (result->error)
        fprintf(stderr, "%s\n", result->error);
    _exit(result->error ? 1 : 0); /* the library's destructors may wait for threads that no longer run */
}
