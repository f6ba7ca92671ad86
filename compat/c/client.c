// The C client of ZooKeeper (libzookeeper_mt, as Debian ships it): client HOST:PORT. Prints a line a check.

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

static const char *address;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int events, last_type, answers, wrong;
static char last_path[256];
static char reason[512];

static void note(int type, const char *path) {
    pthread_mutex_lock(&mutex);
    events++;
    last_type = type;
    snprintf(last_path, sizeof last_path, "%s", path ? path : "");
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void watcher(zhandle_t *handle, int type, int state, const char *path, void *context) {
    (void)handle, (void)state, (void)context;
    if (type != ZOO_SESSION_EVENT) note(type, path);
}

static void answered(int code, const char *value, const void *data) {
    (void)value, (void)data;
    pthread_mutex_lock(&mutex);
    answers++;
    if (code != ZOK) wrong++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void authenticated(int code, const void *data) {
    answered(code, NULL, data);
}

// Waits up to a minute until *counter is at least `wanted`.
static int reaches(const int *counter, int wanted) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    int late = 0;
    pthread_mutex_lock(&mutex);
    while (*counter < wanted && !late) late = pthread_cond_timedwait(&changed, &mutex, &until);
    pthread_mutex_unlock(&mutex);
    return !late;
}

static int fail(const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    vsnprintf(reason, sizeof reason, format, rest);
    va_end(rest);
    return 0;
}

#define REQUIRE(condition) do { if (!(condition)) return fail("line %d: %s", __LINE__, #condition); } while (0)
#define EQUAL(expected, found) do { long e_ = (expected), f_ = (found); \
    if (e_ != f_) return fail("line %d: %s is %ld, not %ld", __LINE__, #found, f_, e_); } while (0)

static zhandle_t *connect_as(const clientid_t *id) {
    zhandle_t *handle = zookeeper_init(address, watcher, 30000, id, NULL, 0);
    for (int round = 0; handle && round < 6000 && zoo_state(handle) != ZOO_CONNECTED_STATE; round++) {
        if (zoo_state(handle) == ZOO_EXPIRED_SESSION_STATE) break;
        usleep(10000);
    }
    return handle;
}

static int basics(zhandle_t *zk) {
    char path[128], data[128];
    int length = sizeof data;
    struct Stat stat;
    EQUAL(ZOK, zoo_create(zk, "/c", "one", 3, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path));
    EQUAL(ZNODEEXISTS, zoo_create(zk, "/c", "one", 3, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path));
    EQUAL(ZOK, zoo_get(zk, "/c", 0, data, &length, &stat));
    REQUIRE(length == 3 && !memcmp(data, "one", 3) && stat.dataLength == 3 && stat.version == 0);
    EQUAL(ZOK, zoo_set2(zk, "/c", "three", 5, 0, &stat));
    EQUAL(1, stat.version);
    EQUAL(ZBADVERSION, zoo_set(zk, "/c", "x", 1, 0));
    EQUAL(ZOK, zoo_create(zk, "/c/s-", NULL, -1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL | ZOO_SEQUENCE, path, sizeof path));
    REQUIRE(!strcmp(path, "/c/s-0000000000"));
    length = sizeof data;
    EQUAL(ZOK, zoo_get(zk, path, 0, data, &length, &stat));
    EQUAL(-1, length);
    REQUIRE(stat.ephemeralOwner == zoo_client_id(zk)->client_id);
    EQUAL(ZNOCHILDRENFOREPHEMERALS, zoo_create(zk, "/c/s-0000000000/x", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path));
    EQUAL(ZOK, zoo_create2(zk, "/c/two", "12", 2, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path, &stat));
    REQUIRE(stat.czxid == stat.mzxid && stat.dataLength == 2);
    EQUAL(ZOK, zoo_create(zk, "/c/container", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_CONTAINER, path, sizeof path));
    struct String_vector names;
    EQUAL(ZOK, zoo_get_children2(zk, "/c", 0, &names, &stat));
    EQUAL(3, names.count);
    EQUAL(3, stat.numChildren);
    deallocate_String_vector(&names);
    EQUAL(ZNOTEMPTY, zoo_delete(zk, "/c", -1));
    EQUAL(ZNONODE, zoo_exists(zk, "/c/none", 0, &stat));
    EQUAL(ZBADARGUMENTS, zoo_create(zk, "c", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path));
    return 1;
}

static int watches(zhandle_t *zk) {
    struct Stat stat;
    struct String_vector names;
    char data[16];
    int length = sizeof data, seen = events;
    EQUAL(ZNONODE, zoo_wexists(zk, "/c/later", watcher, NULL, &stat));
    EQUAL(ZOK, zoo_create(zk, "/c/later", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    REQUIRE(reaches(&events, ++seen));
    REQUIRE(last_type == ZOO_CREATED_EVENT && !strcmp(last_path, "/c/later"));
    EQUAL(ZOK, zoo_wget(zk, "/c/later", watcher, NULL, data, &length, &stat));
    EQUAL(ZOK, zoo_set(zk, "/c/later", "x", 1, -1));
    REQUIRE(reaches(&events, ++seen));
    EQUAL(ZOO_CHANGED_EVENT, last_type);
    EQUAL(ZOK, zoo_wget_children(zk, "/c/later", watcher, NULL, &names));
    deallocate_String_vector(&names);
    EQUAL(ZOK, zoo_create(zk, "/c/later/child", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    REQUIRE(reaches(&events, ++seen));
    EQUAL(ZOO_CHILD_EVENT, last_type);
    EQUAL(ZOK, zoo_wget(zk, "/c/later", watcher, NULL, data, &length, &stat));
    EQUAL(ZOK, zoo_remove_watches(zk, "/c/later", ZWATCHTYPE_DATA, watcher, NULL, 0));
    EQUAL(ZNOWATCHER, zoo_remove_watches(zk, "/c/later", ZWATCHTYPE_DATA, watcher, NULL, 0));
    return 1;
}

static int pipelined(zhandle_t *zk) {
    char path[64];
    EQUAL(ZOK, zoo_create(zk, "/c/many", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    int before = answers;
    wrong = 0;
    for (int each = 0; each < 1000; each++) {
        snprintf(path, sizeof path, "/c/many/%d", each);
        EQUAL(ZOK, zoo_acreate(zk, path, path, (int)strlen(path), &ZOO_OPEN_ACL_UNSAFE, 0, answered, NULL));
    }
    REQUIRE(reaches(&answers, before + 1000));
    EQUAL(0, wrong);
    struct Stat stat;
    EQUAL(ZOK, zoo_exists(zk, "/c/many", 0, &stat));
    EQUAL(1000, stat.numChildren);
    return 1;
}

static int transactions(zhandle_t *zk) {
    zoo_op_t ops[3];
    zoo_op_result_t results[3];
    struct Stat stat;
    char path[64];
    zoo_create_op_init(&ops[0], "/c/multi", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path);
    zoo_set_op_init(&ops[1], "/c/multi", "2", 1, 0, &stat);
    zoo_check_op_init(&ops[2], "/c/multi", 1);
    EQUAL(ZOK, zoo_multi(zk, 3, ops, results));
    EQUAL(1, stat.version);
    zoo_delete_op_init(&ops[0], "/c/multi", 1);
    zoo_check_op_init(&ops[1], "/c/none", 0);
    zoo_delete_op_init(&ops[2], "/c/multi", -1);
    EQUAL(ZNONODE, zoo_multi(zk, 3, ops, results));
    REQUIRE(results[0].err == ZOK && results[1].err == ZNONODE && results[2].err == ZRUNTIMEINCONSISTENCY);
    EQUAL(ZOK, zoo_exists(zk, "/c/multi", 0, &stat));
    return 1;
}

static int access_control(zhandle_t *zk) {
    zhandle_t *owner = connect_as(NULL);
    int before = answers;
    wrong = 0;
    EQUAL(ZOK, zoo_add_auth(owner, "digest", "user:secret", 11, authenticated, NULL));
    REQUIRE(reaches(&answers, before + 1));
    EQUAL(0, wrong);
    EQUAL(ZOK, zoo_create(owner, "/c/mine", "1", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    char data[16];
    int length = sizeof data;
    EQUAL(ZNOAUTH, zoo_get(zk, "/c/mine", 0, data, &length, NULL));
    EQUAL(ZNOAUTH, zoo_set(zk, "/c/mine", "2", 1, -1));
    EQUAL(ZOK, zoo_get(owner, "/c/mine", 0, data, &length, NULL));
    struct ACL_vector acl;
    struct Stat stat;
    EQUAL(ZOK, zoo_get_acl(owner, "/c/mine", &acl, &stat));
    REQUIRE(acl.count == 1 && !strcmp(acl.data[0].id.scheme, "digest") && !strncmp(acl.data[0].id.id, "user:", 5));
    deallocate_ACL_vector(&acl);
    EQUAL(ZINVALIDACL, zoo_set_acl(owner, "/c/mine", -1, &(struct ACL_vector){0, NULL}));
    EQUAL(ZOK, zookeeper_close(owner));
    return 1;
}

// Another process goes on with a session by its id and password.
static int session_is_handed_over(zhandle_t *zk) {
    zhandle_t *first = connect_as(NULL);
    clientid_t id = *zoo_client_id(first);
    struct Stat stat;
    EQUAL(ZOK, zoo_create(first, "/c/held", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0));
    zhandle_t *second = connect_as(&id);
    EQUAL(ZOO_CONNECTED_STATE, zoo_state(second));
    REQUIRE(zoo_client_id(second)->client_id == id.client_id);
    EQUAL(ZOK, zoo_exists(zk, "/c/held", 0, &stat));
    EQUAL(ZOK, zookeeper_close(second));
    EQUAL(ZNONODE, zoo_exists(zk, "/c/held", 0, &stat));
    id.passwd[0] ^= 1;
    zhandle_t *stranger = connect_as(&id);
    EQUAL(ZOO_EXPIRED_SESSION_STATE, zoo_state(stranger));
    zookeeper_close(stranger);
    // The first one's socket was closed, and its session is gone.
    zookeeper_close(first);
    return 1;
}

static int over_a_restart(zhandle_t *zk) {
    struct Stat stat;
    char line[32];
    int code, seen = events;
    EQUAL(ZOK, zoo_create(zk, "/c/ephemeral", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0));
    EQUAL(ZNONODE, zoo_wexists(zk, "/c/after", watcher, NULL, &stat));
    printf("restart\n");
    REQUIRE(fgets(line, sizeof line, stdin));
    int64_t session = zoo_client_id(zk)->client_id;
    for (int round = 0; (code = zoo_exists(zk, "/c/ephemeral", 0, &stat)) == ZCONNECTIONLOSS && round < 6000; round++) usleep(10000);
    EQUAL(ZOK, code);
    REQUIRE(stat.ephemeralOwner == session && zoo_client_id(zk)->client_id == session);
    EQUAL(ZOK, zoo_create(zk, "/c/after", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    REQUIRE(reaches(&events, ++seen));
    REQUIRE(last_type == ZOO_CREATED_EVENT && !strcmp(last_path, "/c/after"));
    return 1;
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    address = arguments[1];
    setvbuf(stdout, NULL, _IOLBF, 0);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    zhandle_t *zk = connect_as(NULL);
    struct { const char *name; int (*run)(zhandle_t *); } checks[] = {
        {"basics", basics}, {"watches", watches}, {"pipelined", pipelined}, {"transactions", transactions},
        {"access-control", access_control}, {"session-is-handed-over", session_is_handed_over}, {"over-a-restart", over_a_restart},
    };
    for (size_t each = 0; each < sizeof checks / sizeof *checks; each++) {
        if (checks[each].run(zk)) printf("ok %s\n", checks[each].name);
        else printf("failed %s: %s\n", checks[each].name, reason);
    }
    return zookeeper_close(zk) == ZOK ? 0 : 1;
}
