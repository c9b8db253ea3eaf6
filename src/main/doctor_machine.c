// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/version.h"
#include "cli/step.h"
#include "cli/text.h"
#include "main/doctor.h"
#include "store/backup.h"

#define FILES_WISE 4096
#define SPACE_FAIL (256LL << 20)
#define SPACE_WARN (2LL << 30)
#define SYNCS      9
#define SYNC_MS    20.0  // a commit waits for one; more makes every request slow
#define WAL_WARN   (512LL << 20)
#define CERT_DAYS  21
#define PATH_SIZE  4096

int doctor_run(const char *const *argv, char *out, size_t size)
{
    int ends[2], status;
    size_t len = 0;
    out[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        dup2(null, 0);
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(ends[1]);
    for (ssize_t n; child > 0 && len < size - 1 && (n = read(ends[0], out + len, size - 1 - len));)
        len += n > 0 ? (size_t)n : 0;
    close(ends[0]);
    out[len] = '\0';
    if (child < 0 || waitpid(child, &status, 0) < 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// The last line that is not empty.
static const char *last_line(struct doctor *doctor, const char *text)
{
    struct str last = STR("");
    for (struct str rest = str_of(text); rest.at;) {
        struct str line = str_trim(str_cut(&rest, '\n'));
        last = line.len ? line : last;
    }
    return arena_cstr(doctor->cli->arena, last);
}

void doctor_python(struct doctor *doctor)
{
    static const char probe[] = "import sys, venv, ensurepip\n"
                                "print('%d.%d.%d' % sys.version_info[:3])\n"
                                "sys.exit(0 if sys.version_info >= (3, 8) else 9)\n";
    char out[2000];
    const char *python = doctor->options->python;
    const char *argv[] = {python, "-c", probe, NULL};
    int code = doctor_run(argv, out, sizeof(out));
    const char *version = last_line(doctor, out);
    if (code == 0 && version[0] >= '0' && version[0] <= '9')
        doctor_tell(doctor, FINDING_OK, "python", NULL, "%s is %s, with venv and pip", python,
                    version);
    else if (code == 0)
        doctor_tell(doctor, FINDING_FAIL, "python", "name a Python 3.8 or newer with --python",
                    "%s is no Python", python);
    else if (code == 127 || code == -1)
        doctor_tell(doctor, FINDING_FAIL, "python",
                    "install Python 3.8 or newer, or name one with --python", "%s is not there",
                    python);
    else if (code == 9)
        doctor_tell(doctor, FINDING_FAIL, "python", "name a newer one with --python",
                    "%s is %s, and 3.8 is needed", python, version);
    else
        doctor_tell(doctor, FINDING_FAIL, "python",
                    "install its venv and pip (Debian: apt-get install python3-venv)",
                    "%s cannot make environments: %s", python, version);
}

void doctor_limits(struct doctor *doctor)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    bool low = files.rlim_cur != RLIM_INFINITY && files.rlim_cur < FILES_WISE;
    doctor_tell(doctor, low ? FINDING_WARN : FINDING_OK, "open files",
                low ? "raise it: ulimit -n 65536, or LimitNOFILE= of the systemd unit" : NULL,
                "%lld may be open at a time", (long long)files.rlim_cur);
}

// ── the data folder ──────────────────────────────────────────────────────────────────────────

static const char *size_text(struct doctor *doctor, int64_t bytes)
{
    _cleanup_buf_ struct buf text = BUF_INIT(64);
    bytes_text(bytes, &text);
    return arena_cstr(doctor->cli->arena, buf_str(&text));
}

static void check_space(struct doctor *doctor, const char *path)
{
    struct statvfs space;
    if (statvfs(path, &space) != 0)
        return;
    int64_t left = (int64_t)space.f_bavail * (int64_t)space.f_frsize;
    int64_t all = (int64_t)space.f_blocks * (int64_t)space.f_frsize;
    int percent = all > 0 ? (int)(100 * left / all) : 0;
    bool no_names = space.f_files > 0 && space.f_favail < 1000;
    enum finding finding = left < SPACE_FAIL || no_names ? FINDING_FAIL
                           : left < SPACE_WARN           ? FINDING_WARN
                                                         : FINDING_OK;
    doctor_tell(doctor, finding, "disk space",
                finding == FINDING_OK
                    ? NULL
                    : "make room: delete DIR/cache at a stop, old items and logs, "
                      "or move the folder to a larger disk",
                "%s free (%d %%)%s", size_text(doctor, left), percent,
                no_names ? ", and hardly a file can be made (inodes)" : "");
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1000 + (double)now.tv_nsec / 1e6;
}

static void check_sync(struct doctor *doctor, const char *path)
{
    char file[PATH_SIZE + 32], block[4096] = {0};
    double took[SYNCS];
    snprintf(file, sizeof(file), "%s/.doctor-XXXXXX", path);
    _cleanup_fd_ int fd = mkostemp(file, O_CLOEXEC);
    if (fd < 0) {
        doctor_tell(doctor, FINDING_FAIL, "data folder",
                    "run doctor as the server's user, or let that user own the folder",
                    "%s cannot be written: %s", path, strerror(errno));
        return;
    }
    unlink(file);
    for (int i = 0; i < SYNCS; i++) {
        double begun = now_ms();
        if (pwrite(fd, block, sizeof(block), i * 4096) != sizeof(block) || fdatasync(fd) != 0) {
            doctor_tell(doctor, FINDING_FAIL, "disk", "look at the disk's health and its space",
                        "writing in %s failed: %s", path, strerror(errno));
            return;
        }
        took[i] = now_ms() - begun;
    }
    qsort(took, SYNCS, sizeof(took[0]), compare);
    double median = took[SYNCS / 2];
    bool slow = median > SYNC_MS;
    doctor_tell(doctor, slow ? FINDING_WARN : FINDING_OK, "disk",
                slow ? "every commit waits so long: put the data folder on a faster disk" : NULL,
                "syncing 4 KiB takes %.1f ms (%.1f at worst)", median, took[SYNCS - 1]);
}

static void check_modes(struct doctor *doctor, const char *data)
{
    static const char *const names[] = {".", "jwt-key", "admin-key", "admin-password"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct stat st;
        const char *path = arena_printf(doctor->cli->arena, "%s/%s", data, names[i]).at;
        if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
            doctor_tell(doctor, FINDING_WARN, "permissions",
                        arena_printf(doctor->cli->arena, "chmod go= %s", path).at,
                        "others may read %s (mode %03o)", path, (unsigned)st.st_mode & 0777);
    }
}

static void check_wal(struct doctor *doctor, const char *data)
{
    struct stat st;
    const char *path = arena_printf(doctor->cli->arena, "%s/drover.db-wal", data).at;
    if (stat(path, &st) != 0)
        return;
    bool large = st.st_size > WAL_WARN;
    doctor_tell(doctor, large ? FINDING_WARN : FINDING_OK, "WAL",
                large ? "something reads for long (a backup?), or the disk is too slow; it shrinks "
                        "when that ends"
                      : NULL,
                "the write-ahead log has %s", size_text(doctor, st.st_size));
}

static void check_socket(struct doctor *doctor, const char *data)
{
    const size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    char *whole = realpath(data, NULL);
    size_t len = strlen(whole ? whole : data) + strlen("/agent.sock");
    free(whole);
    if (len > most)
        doctor_tell(
            doctor, FINDING_WARN, "agent socket",
            "choose a shorter folder, or --agent-listen unix:/run/drover/agent.sock",
            "its path has %zu bytes; sockets are named by at most %zu, and longer ones go by "
            "a detour",
            len, most);
}

void doctor_folder(struct doctor *doctor)
{
    const char *data = doctor->options->data;
    struct stat st;
    char above[PATH_SIZE];
    if (stat(data, &st) != 0) {
        snprintf(above, sizeof(above), "%s", data);
        const char *parent = dirname(above);
        bool fine = access(parent, W_OK) == 0;
        doctor_tell(doctor, fine ? FINDING_OK : FINDING_FAIL, "data folder",
                    fine ? NULL : "make it for the server's user, or name another with --data",
                    "%s is not there%s", data,
                    fine ? "; the first start makes it" : ", and cannot be made");
        if (fine) {
            check_space(doctor, parent);
            check_sync(doctor, parent);
        }
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        doctor_tell(doctor, FINDING_FAIL, "data folder", "name a folder with --data",
                    "%s is not a folder", data);
        return;
    }
    doctor_tell(doctor, FINDING_OK, "data folder", NULL, "%s", data);
    check_space(doctor, data);
    check_sync(doctor, data);
    check_modes(doctor, data);
    check_wal(doctor, data);
    check_socket(doctor, data);
}

static void on_damage(void *arg, const char *blob, const char *why)
{
    doctor_tell(arg, FINDING_FAIL, "blobs", "bring it back from a backup", "%s: %s", blob, why);
}

static void on_progress(void *arg, const char *what, int64_t done, int64_t total)
{
    struct doctor *doctor = arg;
    (void)what, (void)done, (void)total;
    cli_tick(doctor->cli);
}

// Log lines in which SQLite found damage were renamed by the server, which goes on without them.
static void tell_set_aside(struct doctor *doctor)
{
    const char *path = arena_printf(doctor->cli->arena, "%s/logs", doctor->options->data).at;
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (str_ends(str_of(entry->d_name), STR(".damaged")))
            doctor_tell(doctor, FINDING_WARN, "log lines",
                        "bring the day back from a backup with the server stopped, or delete it",
                        "%s/%s was found damaged and set aside", path, entry->d_name);
    if (folder)
        closedir(folder);
}

void doctor_deep(struct doctor *doctor)
{
    struct backup_config config = {.data = doctor->options->data,
                                   .version = DROVER_VERSION,
                                   .on_progress = on_progress,
                                   .on_damage = on_damage,
                                   .arg = doctor};
    struct backup_report report;
    struct err err = ERR_INIT;
    tell_set_aside(doctor);
    if (backup_inspect(&config, &report, &err)) {
        doctor_tell(doctor, FINDING_FAIL, "integrity",
                    "stop the server, keep a copy of the folder, and restore the newest backup",
                    "%s", err.message);
        return;
    }
    doctor_tell(doctor, FINDING_OK, "integrity", NULL, "%lld databases and %lld blobs are whole",
                (long long)report.files, (long long)report.blobs);
}

// ── TLS ──────────────────────────────────────────────────────────────────────────────────────

void doctor_certificate(struct doctor *doctor)
{
    const char *file = doctor->options->tls_cert;
    char out[2000], soon[32];
    if (!file)
        return;
    snprintf(soon, sizeof(soon), "%d", CERT_DAYS * 24 * 3600);
    const char *now[] = {"openssl",  "x509",      "-in", file, "-noout",
                         "-enddate", "-checkend", "0",   NULL};
    const char *then[] = {"openssl", "x509", "-in", file, "-noout", "-checkend", soon, NULL};
    char ignored[2000];
    int code = doctor_run(now, out, sizeof(out));
    struct str rest = str_of(out), end = str_trim(str_cut(&rest, '\n'));
    const char *date = arena_cstr(doctor->cli->arena, end);
    if (code == 127)
        doctor_tell(doctor, FINDING_WARN, "certificate", "install openssl to have it checked",
                    "%s was not looked at: openssl is not there", file);
    else if (!str_starts(end, STR("notAfter=")))
        doctor_tell(doctor, FINDING_FAIL, "certificate", "give a PEM certificate with --tls-cert",
                    "%s cannot be read: %s", file, last_line(doctor, out));
    else if (code != 0)
        doctor_tell(doctor, FINDING_FAIL, "certificate", "renew it, and restart the server",
                    "%s has expired (%s)", file, date);
    else if (doctor_run(then, ignored, sizeof(ignored)) != 0)
        doctor_tell(doctor, FINDING_WARN, "certificate", "renew it, and restart the server",
                    "%s expires within %d days (%s)", file, CERT_DAYS, date);
    else
        doctor_tell(doctor, FINDING_OK, "certificate", NULL, "%s (%s)", file, date);
}
