/* A VFS round the one of the operating system, for tests. It writes down every change and sync of a file in the order
 * in which they came (powerloss.py makes of that what a power cut could have left), and it can let one of them fail.
 *
 * Registered as the default of the very library that Python's sqlite3 is linked to, so the product runs unchanged.
 */
#include <errno.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { OPENED = 1, WRITTEN, TRUNCATED, SYNCED, DELETED, MARKED, NOT_SYNCED };
enum operation { ON_WRITE = 1, ON_SYNC = 2, ON_TRUNCATE = 4, ON_OPEN = 8, ON_DELETE = 16 };

struct record {
    sqlite3_uint64 offset;
    unsigned int kind, file, size, unused;
};

struct traced {
    sqlite3_file base;
    unsigned int id; /* 0: a temporary file, which no power cut can spoil */
    sqlite3_file *real;
};

static sqlite3_vfs *os_vfs;
static sqlite3_vfs vfs;
static int trace = -1;
static unsigned int last_id;
static struct {
    int operations, result;
    long countdown, times, seen;
} fault;

static void note(unsigned int kind, unsigned int file, sqlite3_uint64 offset, const void *data, unsigned int size) {
    struct record record = {offset, kind, file, size, 0};
    struct iovec parts[2] = {{&record, sizeof record}, {(void *)data, size}};
    if (trace >= 0 && writev(trace, parts, data ? 2 : 1) < 0) _exit(97);
}

/* The result that an operation is to have: SQLITE_OK unless its turn to fail has come. */
static int outcome(int operation) {
    if (!(fault.operations & operation)) return SQLITE_OK;
    fault.seen++;
    if (--fault.countdown >= 0 || fault.times <= 0) return SQLITE_OK;
    fault.times--;
    return fault.result;
}

static int of_kind(int result, int io_error) { return result == SQLITE_IOERR ? io_error : result; }

#define REAL(f) (((struct traced *)(f))->real)
#define ID(f) (((struct traced *)(f))->id)

static int t_close(sqlite3_file *f) { return REAL(f)->pMethods->xClose(REAL(f)); }
static int t_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at) { return REAL(f)->pMethods->xRead(REAL(f), to, n, at); }

static int t_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at) {
    int result = ID(f) ? outcome(ON_WRITE) : SQLITE_OK;
    int size = result ? n / 2 / 512 * 512 : n; /* a write that fails has got half way */
    int done = size ? REAL(f)->pMethods->xWrite(REAL(f), from, size, at) : SQLITE_OK;
    if (done == SQLITE_OK && size && ID(f)) note(WRITTEN, ID(f), at, from, size);
    return result ? of_kind(result, SQLITE_IOERR_WRITE) : done;
}

static int t_truncate(sqlite3_file *f, sqlite3_int64 size) {
    int result = ID(f) ? outcome(ON_TRUNCATE) : SQLITE_OK;
    if (result) return of_kind(result, SQLITE_IOERR_TRUNCATE);
    result = REAL(f)->pMethods->xTruncate(REAL(f), size);
    if (result == SQLITE_OK && ID(f)) note(TRUNCATED, ID(f), size, 0, 0);
    return result;
}

static int t_sync(sqlite3_file *f, int flags) {
    int result = ID(f) ? outcome(ON_SYNC) : SQLITE_OK;
    if (result) {
        note(NOT_SYNCED, ID(f), 0, 0, 0);
        return of_kind(result, SQLITE_IOERR_FSYNC);
    }
    if (ID(f)) note(SYNCED, ID(f), 0, 0, 0); /* the real sync would cost time and prove nothing here */
    (void)flags;
    return SQLITE_OK;
}

static int t_size(sqlite3_file *f, sqlite3_int64 *size) { return REAL(f)->pMethods->xFileSize(REAL(f), size); }
static int t_lock(sqlite3_file *f, int level) { return REAL(f)->pMethods->xLock(REAL(f), level); }
static int t_unlock(sqlite3_file *f, int level) { return REAL(f)->pMethods->xUnlock(REAL(f), level); }
static int t_reserved(sqlite3_file *f, int *is) { return REAL(f)->pMethods->xCheckReservedLock(REAL(f), is); }
static int t_sector(sqlite3_file *f) { return REAL(f)->pMethods->xSectorSize(REAL(f)); }
static int t_traits(sqlite3_file *f) { return REAL(f)->pMethods->xDeviceCharacteristics(REAL(f)); }
static int t_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **to) {
    return REAL(f)->pMethods->xShmMap(REAL(f), page, size, extend, to);
}
static int t_shm_lock(sqlite3_file *f, int at, int n, int flags) { return REAL(f)->pMethods->xShmLock(REAL(f), at, n, flags); }
static void t_shm_barrier(sqlite3_file *f) { REAL(f)->pMethods->xShmBarrier(REAL(f)); }
static int t_shm_unmap(sqlite3_file *f, int is_last) { return REAL(f)->pMethods->xShmUnmap(REAL(f), is_last); }

static int t_control(sqlite3_file *f, int what, void *argument) {
    if (what == SQLITE_FCNTL_SIZE_HINT || what == SQLITE_FCNTL_CHUNK_SIZE) return SQLITE_OK; /* every byte is written */
    return REAL(f)->pMethods->xFileControl(REAL(f), what, argument);
}

static const sqlite3_io_methods methods = {
    2, t_close, t_read, t_write, t_truncate, t_sync, t_size, t_lock, t_unlock, t_reserved, t_control, t_sector, t_traits,
    t_shm_map, t_shm_lock, t_shm_barrier, t_shm_unmap, 0, 0,
};

static int v_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *flags_out) {
    struct traced *file = (struct traced *)f;
    int is_kept = name && !(flags & SQLITE_OPEN_DELETEONCLOSE) && (flags & SQLITE_OPEN_READWRITE);
    int result = is_kept ? outcome(ON_OPEN) : SQLITE_OK;
    (void)v;
    file->base.pMethods = 0;
    if (result) return of_kind(result, SQLITE_CANTOPEN);
    file->real = (sqlite3_file *)&file[1];
    result = os_vfs->xOpen(os_vfs, name, file->real, flags, flags_out);
    if (file->real->pMethods) file->base.pMethods = &methods;
    file->id = 0;
    if (result == SQLITE_OK && is_kept) note(OPENED, file->id = ++last_id, 0, name, strlen(name));
    return result;
}

static int v_delete(sqlite3_vfs *v, const char *name, int is_synced) {
    int result = outcome(ON_DELETE);
    (void)v;
    if (result) return of_kind(result, SQLITE_IOERR_DELETE);
    result = os_vfs->xDelete(os_vfs, name, 0);
    if (result == SQLITE_OK) note(DELETED, 0, is_synced, name, strlen(name));
    return result;
}

/* The rest goes straight through, with the VFS that it belongs to. */
static int v_access(sqlite3_vfs *v, const char *name, int flags, int *is) { (void)v; return os_vfs->xAccess(os_vfs, name, flags, is); }
static int v_path(sqlite3_vfs *v, const char *name, int n, char *to) { (void)v; return os_vfs->xFullPathname(os_vfs, name, n, to); }
static int v_random(sqlite3_vfs *v, int n, char *to) { (void)v; return os_vfs->xRandomness(os_vfs, n, to); }
static int v_sleep(sqlite3_vfs *v, int us) { (void)v; return os_vfs->xSleep(os_vfs, us); }
static int v_time(sqlite3_vfs *v, double *to) { (void)v; return os_vfs->xCurrentTime(os_vfs, to); }
static int v_error(sqlite3_vfs *v, int n, char *to) { (void)v; return os_vfs->xGetLastError(os_vfs, n, to); }
static int v_time64(sqlite3_vfs *v, sqlite3_int64 *to) { (void)v; return os_vfs->xCurrentTimeInt64(os_vfs, to); }

int powerloss_begin(int trace_file) {
    trace = trace_file;
    last_id = 0;
    memset(&fault, 0, sizeof fault);
    if (!os_vfs) {
        os_vfs = sqlite3_vfs_find(0);
        vfs.iVersion = 2;
        vfs.szOsFile = sizeof(struct traced) + os_vfs->szOsFile;
        vfs.mxPathname = os_vfs->mxPathname;
        vfs.zName = "powerloss";
        vfs.xOpen = v_open;
        vfs.xDelete = v_delete;
        vfs.xAccess = v_access;
        vfs.xFullPathname = v_path;
        vfs.xRandomness = v_random;
        vfs.xSleep = v_sleep;
        vfs.xCurrentTime = v_time;
        vfs.xGetLastError = v_error;
        vfs.xCurrentTimeInt64 = v_time64;
    }
    return sqlite3_vfs_register(&vfs, 1);
}

int powerloss_end(void) {
    trace = -1;
    memset(&fault, 0, sizeof fault);
    sqlite3_vfs_unregister(&vfs);
    return sqlite3_vfs_register(os_vfs, 1);
}

/* Let the operations numbered nth and the times - 1 after it fail with result; nth counts from 1. */
void powerloss_fail(int operations, long nth, long times, int result) {
    fault.operations = operations;
    fault.countdown = nth - 1;
    fault.times = times;
    fault.result = result;
    fault.seen = 0;
}

long powerloss_seen(void) { return fault.seen; }

void powerloss_mark(const char *text) { note(MARKED, 0, 0, text, strlen(text)); }
