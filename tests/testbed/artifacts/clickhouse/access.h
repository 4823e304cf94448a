/* SQL-managed access, kept as the server's own `local_directory` keeps it: one file an entity, <uuid>.sql, with its ATTACH
 * statements. The engine has no DiskAccessStorage. This is its MemoryAccessStorage with some virtual functions replaced:
 * after each change they write what serializeAccessEntity() returns. A file that cannot be written is said on stderr; the
 * change itself has then been made, unlike on a server.
 */
enum {
    SET_USERS_CONFIG = 0x12d39840, /* AccessControl::setUsersConfig(this, configuration) */
    SET_USERS_CONFIG_PROLOGUE = 16,
    CHANGES_NOTIFIER = 0x12d3a580, /* AccessControl::getChangesNotifier(this) */
    ADD_STORAGE = 0x12dcf880,      /* MultipleAccessStorage::addStorage(this, const shared_ptr &) */
    MEMORY_STORAGE = 0x12dcca80,   /* MemoryAccessStorage(this, const string &name, notifier, bool allow_backup) */
    MEMORY_STORAGE_SIZE = 0x188,
    MEMORY_STORAGE_VTABLE = 0x2152bcd0,
    VTABLE_HEAD = 2, /* words before the first entry: offset to top, type_info */
    VTABLE_ENTRIES = 30,
    SET_ALL = 0x12dcd980,      /* MemoryAccessStorage::setAll(this, const vector<pair<UUID, AccessEntityPtr>> &) */
    SERIALIZE = 0x12d80cc0,    /* serializeAccessEntity(string *result, const IAccessEntity &) */
    DESERIALIZE = 0x12d81080,  /* deserializeAccessEntity(const string &definition, const string &path) */
    RELEASE_WEAK = 0x20f1cbc0, /* __shared_weak_count::__release_weak(this) */
    /* entries of IAccessStorage's vtable */
    GET_TYPE = 3, GET_PARAMS = 4, IS_EPHEMERAL = 7, RELOAD = 13, FIND = 19, READ = 22, INSERT = 24, REMOVE = 25, UPDATE = 26,
    ENTITY_TYPE = 3, /* entry of IAccessEntity's vtable: getType() */
    ENTITY_NAME = 8, /* in IAccessEntity */
};

struct id { uint64_t high, low; };
struct entity { struct id id; struct pair pointer; };

static char *access_folder; /* null: the configuration asks for none */
static pthread_mutex_t access_mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static void *access_vtable[VTABLE_HEAD + VTABLE_ENTRIES], *access_storage;
static void (*original_set_users_config)(void *, void *);
#define MEMORY_VIRTUAL(index) (((void **)(base + MEMORY_STORAGE_VTABLE))[index])

static void release(struct pair pointer) {
    struct { void (**vtable)(void *); long owners, weak; } *block = pointer.second;
    if (block && !__atomic_fetch_sub(&block->owners, 1, __ATOMIC_ACQ_REL)) { /* libc++ counts from 0 */
        block->vtable[2](block);
        ((void (*)(void *))(base + RELEASE_WEAK))(block);
    }
}

static void entity_path(char *out, size_t size, const struct id *id, const char *suffix) {
    char text[33], *from = text;
    for (int i = 0; i < 32; i++)
        text[i] = "0123456789abcdef"[(i < 16 ? id->high >> (60 - 4 * i) : id->low >> (124 - 4 * i)) & 15];
    snprintf(out, size, "%s/%.8s-%.4s-%.4s-%.4s-%.12s.sql%s", access_folder, from, from + 8, from + 12, from + 16, from + 20, suffix);
}

static int parse_id(struct id *id, const char *name) {
    char text[33];
    int size = 0;
    if (strlen(name) != 40 || strcmp(name + 36, ".sql"))
        return 0;
    for (int i = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (name[i] != '-') return 0;
        } else if (!strchr("0123456789abcdef", name[i]))
            return 0;
        else
            text[size++] = name[i];
    }
    id->high = number(text, 16, 16);
    id->low = number(text + 16, 16, 16);
    return 1;
}

static void complain(const char *path) { fprintf(stderr, "clickhouse engine: %s: %s\n", path, strerror(errno)); }

/* Make the file what the storage has now. */
static void save_entity(const struct id *id) {
    char path[4096], temporary[4096];
    union string text = {{0}};
    size_t size = 0;
    entity_path(path, sizeof path, id, "");
    entity_path(temporary, sizeof temporary, id, ".tmp");
    struct pair pointer = ((struct pair (*)(void *, const struct id *, int))MEMORY_VIRTUAL(READ))(access_storage, id, 0);
    if (!pointer.first) {
        if (unlink(path) && errno != ENOENT)
            complain(path);
        return;
    }
    ((void *(*)(union string *, void *))(base + SERIALIZE))(&text, pointer.first);
    release(pointer);
    const char *data = string_data(&text, &size);
    int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (file < 0 || write(file, data, size) != (ssize_t)size || fsync(file) || rename(temporary, path))
        complain(path);
    if (file >= 0)
        close(file);
    free_string(&text);
}

/* An exception passes the frame of change_entity() when a change is refused: unlock then, too. */
int unlock_personality(int, int, uint64_t, void *, void *);
int unlock_personality(int version, int actions, uint64_t class, void *exception, void *context) {
    (void)version, (void)class, (void)exception, (void)context;
    if (actions & CLEANUP_PHASE)
        pthread_mutex_unlock(&access_mutex);
    return CONTINUE_UNWIND;
}

/* One at a time, so that a folder that is read again meanwhile has what the storage has. */
__attribute__((noinline, noclone)) static int change_entity(
    int entry, void *this, struct id *id, uintptr_t first, uintptr_t second, uintptr_t third, uintptr_t fourth) {
    __asm__ volatile(".cfi_personality 0x1b, unlock_personality"); /* encoding 0x1b: relative, four bytes, signed */
    struct { struct id id; char known; char room[7]; } old = {0}; /* optional<UUID> */
    struct id copy = *id; /* the argument may be part of what is removed */
    pthread_mutex_lock(&access_mutex);
    if (entry == INSERT && (second & 255)) { /* replace: the entity with this name goes, and has another id */
        char *object = ((struct pair *)first)->first;
        int type = ((int (*)(void *))(*(void ***)object)[ENTITY_TYPE])(object) & 255;
        ((void *(*)(void *, void *, int, void *))MEMORY_VIRTUAL(FIND))(&old, this, type, object + ENTITY_NAME);
    }
    int done = ((int (*)(void *, struct id *, uintptr_t, uintptr_t, uintptr_t, uintptr_t))MEMORY_VIRTUAL(entry))(
        this, id, first, second, third, fourth) & 255;
    if (done) {
        if (old.known && memcmp(&old.id, &copy, sizeof copy))
            save_entity(&old.id);
        save_entity(&copy);
    }
    pthread_mutex_unlock(&access_mutex);
    return done;
}

static int access_insert(void *this, struct id *id, struct pair *entity, int replace, int must, void *conflicting) {
    return change_entity(INSERT, this, id, (uintptr_t)entity, (uintptr_t)replace, (uintptr_t)must, (uintptr_t)conflicting);
}

static int access_remove(void *this, struct id *id, int must) { return change_entity(REMOVE, this, id, (uintptr_t)must, 0, 0, 0); }

static int access_update(void *this, struct id *id, void *function, int must) {
    return change_entity(UPDATE, this, id, (uintptr_t)function, (uintptr_t)must, 0, 0);
}

static const char *access_type(void *this) { (void)this; return "local_directory"; }
static int access_is_ephemeral(void *this) { (void)this; return 0; }

/* For system.user_directories, as Poco writes JSON: {"path":"\/var\/..."} */
static void *access_params(union string *out, void *this) {
    char text[8192], *to = text;
    (void)this;
    to = stpcpy(to, "{\"path\":\"");
    for (const char *from = access_folder; *from && to < text + sizeof text - 8; from++) {
        if (*from == '/' || *from == '"' || *from == '\\')
            *to++ = '\\';
        *to++ = *from;
    }
    stpcpy(to, "\\/\"}");
    set_string(out, text);
    return out;
}

struct entity_file { union string text, path; struct pair pointer; };

static void parse_entity(void *argument) {
    struct entity_file *file = argument;
    file->pointer = ((struct pair (*)(union string *, union string *))(base + DESERIALIZE))(&file->text, &file->path);
}

/* Returns null pointers, and says why, when there is no entity in the file. */
static struct pair read_entity(const char *path) {
    struct stat status;
    struct entity_file parsed = {0};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    char *data = file >= 0 && !fstat(file, &status) ? calloc((size_t)status.st_size + 1, 1) : 0;
    if (!data || read(file, data, (size_t)status.st_size) != status.st_size) {
        complain(path);
    } else {
        set_string(&parsed.text, data);
        set_string(&parsed.path, path);
        if (catches(parse_entity, &parsed))
            fprintf(stderr, "clickhouse engine: %s: not an access entity, left out\n", path);
        free_string(&parsed.text);
        free_string(&parsed.path);
    }
    free(data);
    if (file >= 0)
        close(file);
    return parsed.pointer;
}

/* Replace what the storage has by what the folder has. */
static void access_reload(void *this, int mode) {
    struct vector all = {0};
    size_t count = 0, room = 0;
    struct entity *entities = 0;
    char path[4096];
    if (mode == RELOAD_USERS_CONFIG_ONLY)
        return;
    pthread_mutex_lock(&access_mutex);
    DIR *folder = opendir(access_folder);
    if (!folder)
        complain(access_folder);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        struct id id;
        if (!parse_id(&id, entry->d_name))
            continue;
        entity_path(path, sizeof path, &id, "");
        struct pair pointer = read_entity(path);
        if (!pointer.first)
            continue;
        if (count == room && !(entities = realloc(entities, (room = 2 * room + 64) * sizeof *entities)))
            fail(access_folder, "out of memory");
        entities[count++] = (struct entity){id, pointer};
    }
    if (folder)
        closedir(folder);
    all.begin = entities;
    all.end = all.capacity = entities + count;
    ((void (*)(void *, struct vector *))(base + SET_ALL))(this, &all);
    pthread_mutex_unlock(&access_mutex);
    for (size_t i = 0; i < count; i++)
        release(entities[i].pointer);
    free(entities);
}

/* The storage lives as long as the process: its control block counts, and frees nothing. */
static void free_nothing(void *block) { (void)block; }
static void (*never_freed[])(void *) = {free_nothing, free_nothing, free_nothing, free_nothing, free_nothing};
static struct { void *vtable; long owners, weak; } access_block = {never_freed, 1L << 40, 1L << 40};

/* Add the storage when the users' configuration is set for the first time. */
static void set_users_config(void *access_control, void *configuration) {
    original_set_users_config(access_control, configuration);
    if (access_storage)
        return;
    union string name;
    set_string(&name, "local_directory");
    void *storage = ((void *(*)(size_t))(base + OPERATOR_NEW))(MEMORY_STORAGE_SIZE);
    void *notifier = ((void *(*)(void *))(base + CHANGES_NOTIFIER))(access_control);
    ((void (*)(void *, union string *, void *, int))(base + MEMORY_STORAGE))(storage, &name, notifier, 1);
    memcpy(access_vtable, (void **)(base + MEMORY_STORAGE_VTABLE) - VTABLE_HEAD, sizeof access_vtable);
    void **entries = access_vtable + VTABLE_HEAD;
    entries[GET_TYPE] = (void *)access_type;
    entries[GET_PARAMS] = (void *)access_params;
    entries[IS_EPHEMERAL] = (void *)access_is_ephemeral;
    entries[RELOAD] = (void *)access_reload;
    entries[INSERT] = (void *)access_insert;
    entries[REMOVE] = (void *)access_remove;
    entries[UPDATE] = (void *)access_update;
    *(void **)storage = entries;
    access_storage = storage;
    access_reload(storage, RELOAD_ALL);
    struct pair pointer = {storage, &access_block};
    ((void (*)(void *, struct pair *))(base + ADD_STORAGE))(access_control, &pointer);
}

static void switch_on_access(void) {
    if (mkdir(access_folder, 0750) && errno != EEXIST)
        fail(access_folder, strerror(errno));
    original_set_users_config = hook(SET_USERS_CONFIG, SET_USERS_CONFIG_PROLOGUE, (void *)set_users_config);
}
