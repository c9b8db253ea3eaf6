// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cli/context.h"
#include "cli/listing.h"
#include "main/doctor.h"
#include "net/http_server.h"

#define SKEW_WARN 5  // seconds
#define CERT_DAYS 21
#define DAY_S     86400

struct probe {
    char date[64];
    int64_t expires;  // of the server's certificate; 0: not said
    long status;
    char error[CURL_ERROR_SIZE];
};

static size_t on_header(char *at, size_t size, size_t count, void *arg)
{
    struct probe *probe = arg;
    struct str line = {at, size * count}, value = line;
    struct str name = str_cut(&value, ':');
    if (value.at && str_case_eq(name, STR("date")))
        snprintf(probe->date, sizeof(probe->date), STR_FMT, STR_ARG(str_trim(value)));
    return line.len;
}

static size_t on_body(char *at, size_t size, size_t count, void *arg)
{
    (void)at, (void)arg;
    return size * count;
}

static void take_certificate(CURL *curl, struct probe *probe)
{
    struct curl_certinfo *info = NULL;
    if (curl_easy_getinfo(curl, CURLINFO_CERTINFO, &info) != CURLE_OK || !info)
        return;
    for (struct curl_slist *it = info->num_of_certs > 0 ? info->certinfo[0] : NULL; it;
         it = it->next)
        if (str_starts(str_of(it->data), STR("Expire date:")))
            probe->expires = (int64_t)curl_getdate(it->data + sizeof("Expire date:") - 1, NULL);
}

static bool look(struct doctor *doctor, const char *url, struct probe *probe)
{
    struct str socket = doctor->cli->target.socket;
    CURL *curl = curl_easy_init();
    *probe = (struct probe){0};
    curl_easy_setopt(curl, CURLOPT_URL, url);
    if (socket.at)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, arena_cstr(doctor->cli->arena, socket));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 5000L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_CERTINFO, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, probe->error);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, probe);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &probe->status);
        take_certificate(curl, probe);
    } else if (!probe->error[0]) {
        snprintf(probe->error, sizeof(probe->error), "%s", curl_easy_strerror(code));
    }
    curl_easy_cleanup(curl);
    return code == CURLE_OK;
}

static void check_clock(struct doctor *doctor, const struct probe *probe)
{
    time_t theirs = probe->date[0] ? curl_getdate(probe->date, NULL) : -1;
    if (theirs < 0)
        return;
    long long skew = (long long)(time(NULL) - theirs);
    bool far = llabs(skew) > SKEW_WARN;
    doctor_tell(doctor, far ? FINDING_WARN : FINDING_OK, "clock",
                far ? "let both machines take their time from NTP" : NULL,
                "this machine's is %lld s %s the server's", llabs(skew),
                skew < 0 ? "behind" : "ahead of");
}

static void check_expiry(struct doctor *doctor, const struct probe *probe)
{
    if (probe->expires <= 0)
        return;
    long long days = (probe->expires - (int64_t)time(NULL)) / DAY_S;
    bool soon = days < CERT_DAYS;
    doctor_tell(doctor, soon ? FINDING_WARN : FINDING_OK, "certificate",
                soon ? "renew the server's, and restart it" : NULL,
                "the server's is good for %lld days", days);
}

void doctor_server(struct doctor *doctor)
{
    struct cli *cli = doctor->cli;
    struct err err = ERR_INIT;
    struct probe probe;
    if (cli_target(cli, &err)) {
        cli->hint = NULL;
        return;  // nobody names one
    }
    const char *url = arena_printf(cli->arena, STR_FMT, STR_ARG(cli->target.url)).at;
    const char *ready = arena_printf(cli->arena, "%s/readyz", url).at;
    const char *source = arena_cstr(cli->arena, cli->target.source);
    bool named = cli->common->url || cli->common->context || cli->target.context.at;
    if (!look(doctor, ready, &probe)) {
        doctor_tell(doctor, named ? FINDING_FAIL : FINDING_WARN, "server",
                    "start it (`drover server`, `drover up`), or name another with --url",
                    "%s (%s) does not answer: %s", url, source, probe.error);
        return;
    }
    if (probe.status != 200) {
        doctor_tell(doctor, FINDING_FAIL, "server", "the server's log says what is wrong",
                    "%s is not ready (it answers %ld)", url, probe.status);
        return;
    }
    doctor->server_is_up = true;
    doctor_tell(doctor, FINDING_OK, "server", NULL, "%s is ready", url);
    check_clock(doctor, &probe);
    check_expiry(doctor, &probe);
}

// Where the folder's server listened last, if that is an address of this machine.
static const char *last_address(struct doctor *doctor)
{
    struct arena *arena = doctor->cli->arena;
    const char *path = arena_printf(arena, "%s/url", doctor->options->data).at;
    struct err ignored = ERR_INIT;
    struct str url, scheme = STR("http://");
    if (access(path, R_OK) || cli_read(doctor->cli, path, 4096, &url, &ignored))
        return NULL;
    url = str_trim(url);
    if (!str_starts(url, scheme) || !url_is_loopback(url))
        return NULL;
    return arena_cstr(arena, (struct str){url.at + scheme.len, url.len - scheme.len});
}

void doctor_port(struct doctor *doctor)
{
    struct err err = ERR_INIT;
    if (!doctor->options->listen && doctor->cli->target.socket.at)
        return;  // it has none
    const char *listen = doctor->options->listen ? doctor->options->listen : last_address(doctor);
    if (!listen)
        listen = "127.0.0.1:8080";
    struct http_listener *listener = http_listener_open(listen, &err);
    if (listener)
        doctor_tell(doctor, FINDING_OK, "port", NULL, "%s is free", listen);
    else
        doctor_tell(doctor, FINDING_FAIL, "port",
                    "stop what holds it, or give the server another with --listen", "%s",
                    err.message);
    http_listener_close(listener);
}

// ── services ─────────────────────────────────────────────────────────────────────────────────

static void check_service(struct doctor *doctor, struct json service, int *failing)
{
    struct cli *cli = doctor->cli;
    struct err err = ERR_INIT;
    struct json rollout;
    struct str name = json_text(service, "name", cli->arena);
    const char *id = arena_cstr(cli->arena, json_text(service, "id", cli->arena));
    if (cli_get(cli, cli_path(cli, "/services/{}/rollout", id), &rollout, &err) ||
        !str_is(json_text(rollout, "state", cli->arena), "failing"))
        return;
    ++*failing;
    doctor_tell(doctor, FINDING_FAIL, "services",
                arena_printf(cli->arena, "drover why " STR_FMT ", drover logs " STR_FMT,
                             STR_ARG(name), STR_ARG(name))
                    .at,
                STR_FMT ": " STR_FMT, STR_ARG(name),
                STR_ARG(json_text(rollout, "message", cli->arena)));
}

void doctor_services(struct doctor *doctor)
{
    struct cli *cli = doctor->cli;
    struct err err = ERR_INIT;
    struct json page, items = {0}, service;
    struct str key;
    int count = 0, failing = 0;
    if (cli_get(cli, "/services?pageSize=200", &page, &err)) {
        bool login = err.kind == ERR_UNAUTHENTICATED || err.kind == ERR_DENIED;
        doctor_tell(doctor, login ? FINDING_WARN : FINDING_FAIL, "services",
                    login ? "log in with `drover login`" : "the server's log says what is wrong",
                    "they cannot be read: %s", err.message);
        cli->hint = NULL;
        return;
    }
    json_get(page, "items", &items);
    for (struct json_iter it = json_each(items); json_next(&it, &key, &service); count++)
        check_service(doctor, service, &failing);
    if (failing == 0)
        doctor_tell(doctor, FINDING_OK, "services", NULL, "%d, none is failing", count);
}
