// SPDX-License-Identifier: Apache-2.0
#include "operation/settings.h"

#include <stddef.h>
#include <string.h>

#include "operation/account.h"

#define OPTION(flag_, env_, key_, kind, member, ...)                                               \
    {                                                                                              \
        .flag = "--" flag_, .env = "DROVER_" env_, .key = key_, .type = OPTION_##kind,             \
        .offset = offsetof(struct settings, member), __VA_ARGS__                                   \
    }

#define MINUTE 60000LL
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define KIB    1024LL
#define MIB    (1024 * KIB)
#define GIB    (1024 * MIB)

#define PLACES   "Places and addresses"
#define LOGGING  "Logging"
#define LIMITS   "Limits of requests"
#define ACCOUNTS "Accounts"
#define SECRETS  "Secrets"
#define RUNNING  "Executions"
#define DRIVERS  "Agents on this machine"
#define TELLING  "Notifications"
#define KEEPING  "Housekeeping"

static const struct option options[] = {
    OPTION("data", "DATA", "data", TEXT, data, .fallback = "./drover-data", .unit = "DIR",
           .group = PLACES, .help = "Folder of everything that is kept; made at first start."),
    OPTION("listen", "LISTEN", "listen", TEXT, listen, .fallback = "127.0.0.1:8080",
           .unit = "HOST:PORT", .group = PLACES,
           .help = "Where the API is served; unix:PATH is a socket."),
    OPTION("public-url", "PUBLIC_URL", "publicUrl", TEXT, public_url, .unit = "URL",
           .group = PLACES,
           .help = "Address under which functions and browsers reach the API; made from --listen "
                   "when not given."),
    OPTION("agent-listen", "AGENT_LISTEN", "agentListen", TEXT, agent_listen, .unit = "WHERE",
           .group = PLACES,
           .help = "Where agents connect: unix:PATH or HOST:PORT; unix:DIR/agent.sock when not "
                   "given."),
    OPTION("agent-url", "AGENT_URL", "agentUrl", TEXT, agent_url, .unit = "URL", .group = PLACES,
           .help = "Address that agents are told to connect to; --agent-listen when not given."),
    OPTION("tls-cert", "TLS_CERT", "tlsCert", TEXT, tls_cert, .unit = "FILE", .group = PLACES,
           .help = "Certificate chain (PEM) for HTTPS; needs --tls-key."),
    OPTION("tls-key", "TLS_KEY", "tlsKey", TEXT, tls_key, .unit = "FILE", .group = PLACES,
           .help = "Private key (PEM) of --tls-cert."),
    OPTION("config", "CONFIG", NULL, TEXT, config, .unit = "FILE", .group = PLACES,
           .help = "JSON file with options; flags and environment variables win over it."),
    OPTION("cache", "CACHE", "cache", TEXT, cache, .unit = "DIR", .group = PLACES,
           .help = "Folder of unpacked code and Python environments, may be deleted at any stop; "
                   "DIR/cache when not given."),
    OPTION("python", "PYTHON", "python", TEXT, python, .fallback = "python3", .unit = "PROGRAM",
           .group = PLACES, .help = "Interpreter that runs Python functions (3.8 or newer)."),
    OPTION("node", "NODE", "node", TEXT, node, .fallback = "node", .unit = "PROGRAM",
           .group = PLACES,
           .help = "Node.js that runs JavaScript functions (18 or newer); needed only for them."),
    OPTION("store", "STORE", "store", CHOICE, store, .fallback = "sqlite",
           .choices = "sqlite|memory", .group = PLACES,
           .help = "Where state is kept; memory forgets everything at the end."),
    OPTION("queue", "QUEUE", "queue", CHOICE, queue, .fallback = "embedded",
           .choices = "embedded|memory", .group = PLACES,
           .help = "Which queue hands executions to agents."),
    OPTION("driver", "DRIVER", "driver", CHOICE, driver, .fallback = "process",
           .choices = "process|memory", .group = PLACES, .help = "What starts and watches agents."),

    OPTION("log-level", "LOG_LEVEL", "logLevel", CHOICE, log_level, .fallback = "info",
           .choices = "debug|info|warn|error", .group = LOGGING,
           .help = "The least important lines that are written."),
    OPTION("log-format", "LOG_FORMAT", "logFormat", CHOICE, log_format, .fallback = "text",
           .choices = "text|json", .group = LOGGING, .help = "Form of a log line."),

    OPTION("max-body", "MAX_BODY", "maxBody", BYTES, body_max, .fallback = "20MiB", .min = 64 * KIB,
           .max = GIB, .group = LIMITS, .help = "Largest JSON body of a request."),
    OPTION("max-upload", "MAX_UPLOAD", "maxUpload", BYTES, upload_max, .fallback = "10GiB",
           .min = MIB, .max = 16 * 1024 * GIB, .group = LIMITS, .help = "Largest uploaded file."),
    OPTION("max-json-depth", "MAX_JSON_DEPTH", "maxJsonDepth", INT, json_depth, .fallback = "64",
           // The links to agents wrap a body in some levels more, and JSON_DEPTH_LIMIT ends those.
           .min = 8, .max = 500, .group = LIMITS, .help = "Deepest nesting of a JSON body."),
    OPTION("max-input", "MAX_INPUT", "maxInput", BYTES, input_max, .fallback = "16MiB", .min = KIB,
           .max = 16 * MIB, .group = LIMITS, .help = "Largest input of an execution (JSON)."),
    OPTION("max-output", "MAX_OUTPUT", "maxOutput", BYTES, output_max, .fallback = "16MiB",
           .min = KIB, .max = 16 * MIB, .group = LIMITS,
           .help = "Largest output of an execution (JSON)."),
    OPTION("max-bulk", "MAX_BULK", "maxBulk", INT, bulk_max, .fallback = "1000", .min = 1,
           .max = 100000, .group = LIMITS,
           .help = "Most entries in one request: executions of an array, people invited, ids asked "
                   "for."),
    OPTION("max-answer", "MAX_ANSWER", "maxAnswer", BYTES, answer_max, .fallback = "256MiB",
           .min = MIB, .max = 4 * GIB, .group = LIMITS, .help = "Largest answer (JSON)."),
    OPTION("max-page-size", "MAX_PAGE_SIZE", "maxPageSize", INT, limits.page_size,
           .fallback = "1000", .min = 1, .max = 100000, .group = LIMITS,
           .help = "Most rows in one page of a list (pageSize)."),
    OPTION("max-filter-terms", "MAX_FILTER_TERMS", "maxFilterTerms", INT, limits.filter_terms,
           .fallback = "10000", .min = 1, .max = 10000, .group = LIMITS,
           .help = "Most terms and values in one filter."),
    OPTION("max-filter-depth", "MAX_FILTER_DEPTH", "maxFilterDepth", INT, limits.filter_depth,
           // SQLite's parser takes no more.
           .fallback = "16", .min = 1, .max = 16, .group = LIMITS,
           .help = "Deepest nesting of a filter ($and, $or)."),
    OPTION("max-name", "MAX_NAME", "maxName", BYTES, limits.name, .fallback = "256", .min = 16,
           .max = KIB, .group = LIMITS,
           .help = "Longest name of a project, dataset, person, module, function or parameter."),
    OPTION("max-field", "MAX_FIELD", "maxField", BYTES, limits.field, .fallback = "1MiB",
           .min = KIB, .max = 16 * MIB, .group = LIMITS,
           .help = "Largest text or JSON of one field, or of a form."),
    OPTION("max-functions", "MAX_FUNCTIONS", "maxFunctions", INT, limits.functions,
           .fallback = "256", .min = 1, .max = 4096, .group = LIMITS,
           .help = "Most modules of a package, functions of a module, inputs or outputs of a "
                   "function."),
    OPTION("max-requirements", "MAX_REQUIREMENTS", "maxRequirements", INT, limits.requirements,
           // An agent takes no more.
           .fallback = "512", .min = 1, .max = 1000, .group = LIMITS,
           .help = "Most requirements of a package."),
    OPTION("max-replicas", "MAX_REPLICAS", "maxReplicas", INT, limits.replicas, .fallback = "1000",
           .min = 1, .max = 10000, .group = LIMITS, .help = "Most replicas of a service."),
    OPTION("max-concurrency", "MAX_CONCURRENCY", "maxConcurrency", INT, limits.concurrency,
           // An agent takes no more.
           .fallback = "1000", .min = 1, .max = 1000, .group = LIMITS,
           .help = "Most executions that a replica runs at the same time."),
    OPTION("max-connections", "MAX_CONNECTIONS", "maxConnections", INT, connections_max,
           .fallback = "10000", .min = 1, .max = 1000000, .group = LIMITS,
           .help = "Open connections; further clients wait."),
    OPTION("max-connections-per-address", "MAX_CONNECTIONS_PER_ADDRESS", "maxConnectionsPerAddress",
           INT, connections_per_address, .fallback = "0", .min = 0, .max = 1000000, .group = LIMITS,
           .help = "Open connections of one client address; 0: no limit."),
    OPTION("idle-timeout", "IDLE_TIMEOUT", "idleTimeout", SECONDS, idle_ms, .fallback = "75s",
           .min = 1000, .max = HOUR, .unit = "TIME", .group = LIMITS,
           .help = "A connection that is silent for so long is closed."),
    OPTION("backlog-max", "BACKLOG_MAX", "backlogMax", INT, backlog_max, .fallback = "20000",
           .min = 1, .max = 10000000, .group = LIMITS,
           .help = "Changes waiting to be written before callers are told to wait (429)."),
    OPTION("max-wait", "MAX_WAIT", "maxWait", SECONDS, wait_max_ms, .fallback = "60s", .min = 1000,
           .max = HOUR, .unit = "TIME", .group = LIMITS,
           .help = "Longest that a call waits for an execution to finish."),
    OPTION("max-archive", "MAX_ARCHIVE", "maxArchive", BYTES, archive_max, .fallback = "1GiB",
           .min = MIB, .max = 1024 * GIB, .group = LIMITS,
           .help = "Largest unpacked size of a package's code."),
    OPTION("max-archive-entries", "MAX_ARCHIVE_ENTRIES", "maxArchiveEntries", INT, archive_entries,
           .fallback = "100000", .min = 1, .max = 10000000, .group = LIMITS,
           .help = "Most files in a package's code."),

    OPTION("login-ttl", "LOGIN_TTL", "loginTtl", SECONDS, login_ttl_ms, .fallback = "24h",
           .min = 5 * MINUTE, .max = 366 * DAY, .unit = "TIME", .group = ACCOUNTS,
           .help = "How long a login token is good."),
    OPTION("refresh-ttl", "REFRESH_TTL", "refreshTtl", SECONDS, refresh_ttl_ms, .fallback = "30d",
           .min = 5 * MINUTE, .max = 3660 * DAY, .unit = "TIME", .group = ACCOUNTS,
           .help = "How long a refresh token is good."),
    OPTION("api-key-ttl", "API_KEY_TTL", "apiKeyTtl", SECONDS, api_key_ttl_ms, .fallback = "3650d",
           .min = HOUR, .max = 36500 * DAY, .unit = "TIME", .group = ACCOUNTS,
           .help = "How long a new API key is good."),
    OPTION("service-token-ttl", "SERVICE_TOKEN_TTL", "serviceTokenTtl", SECONDS,
           service_token_ttl_ms, .fallback = "24h", .min = 5 * MINUTE, .max = 366 * DAY,
           .unit = "TIME", .group = ACCOUNTS,
           .help = "How long a token given to a function is good; it is renewed in time."),
    OPTION("login-tries", "LOGIN_TRIES", "loginTries", INT, login_tries, .fallback = "10", .min = 1,
           .max = 100000, .group = ACCOUNTS,
           .help = "Failed logins per minute, for each account and each address."),

    OPTION("master-key-file", "MASTER_KEY_FILE", "masterKeyFile", TEXT, master_key_file,
           .unit = "FILE", .group = SECRETS,
           .help = "File of the key that seals secrets, readable by its owner alone; "
                   "DIR/master-key, made at first start, when not given."),
    OPTION("master-key-command", "MASTER_KEY_COMMAND", "masterKeyCommand", TEXT, master_key_command,
           .unit = "COMMAND", .group = SECRETS,
           .help = "Shell command that prints the key instead, as one of a key store (KMS)."),
    OPTION("core-dumps", "CORE_DUMPS", "coreDumps", BOOL, core_dumps, .fallback = "false",
           .group = SECRETS,
           .help = "Let a crash of the server leave a core file, and debuggers attach; both show "
                   "secrets."),

    OPTION("lease", "LEASE", "lease", SECONDS, lease_ms, .fallback = "15s", .min = 1000,
           .max = 10 * MINUTE, .unit = "TIME", .group = RUNNING,
           .help = "How long a silent agent keeps its executions."),
    OPTION("drain-time", "DRAIN_TIME", "drainTime", INT, drain_default_s, .fallback = "600",
           .min = 0, .max = 31536000, .unit = "SECONDS", .group = RUNNING,
           .help =
               "When an execution is over its time, how long others in its runner may go on before "
               "that is restarted; for services that do not say (drainTime)."),
    OPTION("execution-timeout", "EXECUTION_TIMEOUT", "executionTimeout", INT, timeout_default_s,
           .fallback = "3600", .min = 1, .max = 315360000, .unit = "SECONDS", .group = RUNNING,
           .help = "Limit for executions of services that do not say (executionTimeout)."),
    OPTION("max-attempts", "MAX_ATTEMPTS", "maxAttempts", INT, attempts_default, .fallback = "3",
           .min = 1, .max = 1000, .group = RUNNING,
           .help = "Attempts for executions of services that do not say (maxAttempts)."),
    OPTION("max-log-line", "MAX_LOG_LINE", "maxLogLine", BYTES, log_line_max, .fallback = "16KiB",
           .min = 256, .max = MIB, .group = RUNNING,
           .help = "Longest log line; the rest is cut off."),
    OPTION("max-log-lines", "MAX_LOG_LINES", "maxLogLines", INT, log_lines_per_execution,
           .fallback = "100000", .min = 1, .max = 1000000000, .group = RUNNING,
           .help = "Most log lines of one execution."),
    OPTION("dtlpy-version", "DTLPY_VERSION", "dtlpyVersion", TEXT, dtlpy_version,
           .fallback = "1.126.5", .unit = "VERSION", .group = RUNNING,
           .help = "dtlpy for services that do not say (versions.dtlpy); none: not installed."),

    OPTION("backoff-first", "BACKOFF_FIRST", "backoffFirst", SECONDS, backoff_first_ms,
           .fallback = "10s", .min = 10, .max = HOUR, .unit = "TIME", .group = DRIVERS,
           .help = "Wait before an agent that crashed is started again; doubles each time."),
    OPTION("backoff-max", "BACKOFF_MAX", "backoffMax", SECONDS, backoff_max_ms, .fallback = "5m",
           .min = 10, .max = DAY, .unit = "TIME", .group = DRIVERS,
           .help = "Longest wait before an agent is started again."),
    OPTION("backoff-reset", "BACKOFF_RESET", "backoffReset", SECONDS, backoff_reset_ms,
           .fallback = "10m", .min = 10, .max = DAY, .unit = "TIME", .group = DRIVERS,
           .help = "An agent that ran for so long starts with the first wait again."),

    OPTION(
        "rollout-failures", "ROLLOUT_FAILURES", "rolloutFailures", INT, rollout_failures,
        .fallback = "3", .min = 1, .max = 1000, .group = DRIVERS,
        .help = "When an agent of a new revision fails so often in a row, the last good revision "
                "comes back."),
    OPTION("crash-failures", "CRASH_FAILURES", "crashFailures", INT, crash_failures,
           .fallback = "5", .min = 1, .max = 1000, .group = DRIVERS,
           .help = "When an agent fails so often in a row and no other one of its service takes "
                   "executions, the service is deactivated."),
    OPTION("preempt-after", "PREEMPT_AFTER", "preemptAfter", SECONDS, preempt_after_ms,
           .fallback = "24h", .min = 1000, .max = 366 * DAY, .unit = "TIME", .group = DRIVERS,
           .help = "An agent of a preemptible service is replaced after so long at the latest."),
    OPTION("preempt-notice", "PREEMPT_NOTICE", "preemptNotice", SECONDS, preempt_notice_ms,
           .fallback = "30s", .min = 0, .max = HOUR, .unit = "TIME", .group = DRIVERS,
           .help = "What a preempted agent has not finished in this time it hands back."),
    OPTION("preempt-probability", "PREEMPT_PROBABILITY", "preemptProbability", INT,
           preempt_per_mille, .fallback = "0", .min = 0, .max = 1000000, .unit = "PERMILLE",
           .group = DRIVERS,
           .help = "So many of a thousand agents of preemptible services are preempted in an hour, "
                   "to try out whether they bear it."),

    OPTION("notify-webhook", "NOTIFY_WEBHOOK", "notifyWebhook", TEXT, notify_webhook, .unit = "URL",
           .group = TELLING,
           .help = "Where every new notification is posted to as JSON; needs --notify-secret."),
    OPTION("notify-secret", "NOTIFY_SECRET", "notifySecret", TEXT, notify_secret, .unit = "FILE",
           .group = TELLING,
           .help = "File (0600) with the secret that what is posted is signed with (HMAC-SHA256)."),
    OPTION(
        "smtp-url", "SMTP_URL", "smtpUrl", TEXT, smtp_url, .unit = "URL", .group = TELLING,
        .help = "Mail server for new notifications, smtp://HOST:PORT or smtps://HOST:PORT; needs "
                "--smtp-from."),
    OPTION("smtp-from", "SMTP_FROM", "smtpFrom", TEXT, smtp_from, .unit = "ADDRESS",
           .group = TELLING, .help = "Sender of the mail."),
    OPTION("smtp-to", "SMTP_TO", "smtpTo", TEXT, smtp_to, .unit = "ADDRESSES", .group = TELLING,
           .help = "Who gets the mail, with commas between; the owners of the project when not "
                   "given."),
    OPTION("smtp-login", "SMTP_LOGIN", "smtpLogin", TEXT, smtp_login, .unit = "FILE",
           .group = TELLING,
           .help = "File (0600) with USER:PASSWORD for the mail server; with smtp:// to another "
                   "machine the connection must then be encrypted (STARTTLS)."),

    OPTION("collect", "COLLECT", "collect", SECONDS, collect_ms, .fallback = "10m", .min = 1000,
           .max = 30 * DAY, .unit = "TIME", .group = KEEPING,
           .help = "How often files that nothing refers to are looked for."),
    OPTION("collect-grace", "COLLECT_GRACE", "collectGrace", SECONDS, collect_grace_ms,
           .fallback = "1h", .min = MINUTE, .max = 366 * DAY, .unit = "TIME", .group = KEEPING,
           .help = "How long an unused file lives at least."),
    OPTION("audit-days", "AUDIT_DAYS", "auditDays", INT, audit_days, .fallback = "365", .min = 1,
           .max = 36500, .unit = "DAYS", .group = KEEPING,
           .help = "How long the audit log is kept."),
    OPTION("keep-commands-days", "KEEP_COMMANDS_DAYS", "keepCommandsDays", INT, keep_commands_days,
           .fallback = "365", .min = 1, .max = 36500, .unit = "DAYS", .group = KEEPING,
           .help = "How long commands that have ended are kept."),
    OPTION("keep-executions-days", "KEEP_EXECUTIONS_DAYS", "keepExecutionsDays", INT,
           keep_executions_days, .fallback = "0", .min = 0, .max = 36500, .unit = "DAYS",
           .group = KEEPING,
           .help = "How long executions that have ended are kept, with their statuses, from their "
                   "last change; 0: for ever."),
    OPTION("keep-executions", "KEEP_EXECUTIONS", "keepExecutions", INT, keep_executions,
           .fallback = "0", .min = 0, .max = 1000000000, .group = KEEPING,
           .help = "How many executions of one service that have ended are kept, the newest; 0: "
                   "all."),
    OPTION("keep-logs-days", "KEEP_LOGS_DAYS", "keepLogsDays", INT, keep_logs_days,
           .fallback = "90", .min = 0, .max = 36500, .unit = "DAYS", .group = KEEPING,
           .help = "How long log lines are kept, in whole days (UTC); 0: for ever."),
    OPTION("keep-logs-mib", "KEEP_LOGS_MIB", "keepLogsMib", INT, keep_logs_mib, .fallback = "10240",
           .min = 0, .max = 1073741824, .unit = "MIB", .group = KEEPING,
           .help = "How much disk log lines may take with their indexes; the oldest files go "
                   "first, the newest stays; 0: any."),
    OPTION("event-days", "EVENT_DAYS", "eventDays", INT, event_days, .fallback = "30", .min = 1,
           .max = 36500, .unit = "DAYS", .group = KEEPING,
           .help = "How long the events of services are kept."),
    OPTION("event-max", "EVENT_MAX", "eventMax", INT, event_max, .fallback = "100000", .min = 100,
           .max = 100000000, .group = KEEPING,
           .help = "How many events of services are kept, the newest of all services."),
    OPTION("notification-days", "NOTIFICATION_DAYS", "notificationDays", INT, notification_days,
           .fallback = "90", .min = 1, .max = 36500, .unit = "DAYS", .group = KEEPING,
           .help = "How long notifications are kept, from the last time that they were raised."),
};

const struct option_table settings_table = {
    .options = options,
    .count = sizeof(options) / sizeof(options[0]),
    .usage = "drover server [OPTIONS]",
    .summary = "Runs the platform: API, queue, controllers and agents in one program.",
    .examples = "  drover server\n"
                "  drover server --data /var/lib/drover --listen 0.0.0.0:8080\n"
                "  DROVER_LOG_FORMAT=json drover server --config drover.json\n",
};

// "0.0.0.0:8080" and "[::]:8080" listen everywhere; a client must name one place.
static struct str reachable(struct str listen, struct arena *arena)
{
    size_t colon = listen.len;
    while (colon > 0 && listen.at[colon - 1] != ':')
        colon--;
    struct str port = {listen.at + colon, listen.len - colon};
    struct str host = {listen.at, colon ? colon - 1 : 0};
    if (str_starts(listen, STR("unix:")))
        return STR("localhost");
    if (host.len == 0 || str_is(host, "0.0.0.0") || str_is(host, "*"))
        return arena_printf(arena, "127.0.0.1:" STR_FMT, STR_ARG(port));
    if (str_is(host, "[::]"))
        return arena_printf(arena, "[::1]:" STR_FMT, STR_ARG(port));
    return listen;
}

static int check_url(const char *url, const char *flag, struct err *err)
{
    struct str text = str_of(url);
    if (str_starts(text, STR("http://")) || str_starts(text, STR("https://")))
        return 0;
    return err_field(err, flag, "%s: '%s' must begin with http:// or https://", flag, url);
}

static const char *without_slash(const char *url, struct arena *arena)
{
    struct str text = str_of(url);
    while (text.len && text.at[text.len - 1] == '/')
        text.len--;
    return arena_cstr(arena, text);
}

static int complete_agent(struct settings *settings, struct arena *arena, struct err *err)
{
    if (!settings->agent_listen)
        settings->agent_listen = arena_printf(arena, "unix:%s/agent.sock", settings->data).at;
    if (settings->agent_url)
        return str_starts(str_of(settings->agent_url), STR("unix:"))
                   ? 0
                   : check_url(settings->agent_url, "--agent-url", err);
    struct str listen = str_of(settings->agent_listen);
    if (str_starts(listen, STR("unix:"))) {
        settings->agent_url = settings->agent_listen;
        return 0;
    }
    if (str_ends(listen, STR(":0")))
        return err_field(err, "--agent-listen",
                         "--agent-listen: '%s' has no port that agents can be told: give one "
                         "other than 0",
                         settings->agent_listen);
    const char *scheme = settings->tls_cert ? "https" : "http";
    settings->agent_url =
        arena_printf(arena, "%s://" STR_FMT, scheme, STR_ARG(reachable(listen, arena))).at;
    return check_url(settings->agent_url, "--agent-url", err);
}

static int check_together(const char *a, const char *a_flag, const char *b, const char *b_flag,
                          struct err *err)
{
    if (!a == !b)
        return 0;
    return err_field(err, a ? b_flag : a_flag, "%s and %s belong together; %s is missing", a_flag,
                     b_flag, a ? b_flag : a_flag);
}

static int check_mail(const struct settings *settings, struct arena *arena, struct err *err)
{
    struct str url = str_of(settings->smtp_url), to = str_of(settings->smtp_to), address;
    if (!settings->smtp_url && (settings->smtp_to || settings->smtp_login))
        return err_field(err, "--smtp-url", "--smtp-to and --smtp-login need --smtp-url");
    if (!settings->smtp_url)
        return 0;
    if (!str_starts(url, STR("smtp://")) && !str_starts(url, STR("smtps://")))
        return err_field(err, "--smtp-url", "--smtp-url: '%s' must begin with smtp:// or smtps://",
                         settings->smtp_url);
    if (email_read(str_of(settings->smtp_from), "--smtp-from", arena, &address, err))
        return -1;
    while (to.len > 0)
        if (email_read(str_cut(&to, ','), "--smtp-to", arena, &address, err))
            return -1;
    return 0;
}

static int check_notifications(const struct settings *settings, struct arena *arena,
                               struct err *err)
{
    if (check_together(settings->notify_webhook, "--notify-webhook", settings->notify_secret,
                       "--notify-secret", err) ||
        check_together(settings->smtp_url, "--smtp-url", settings->smtp_from, "--smtp-from", err))
        return -1;
    if (settings->notify_webhook && check_url(settings->notify_webhook, "--notify-webhook", err))
        return -1;
    return check_mail(settings, arena, err);
}

int settings_complete(struct settings *settings, struct arena *arena, struct err *err)
{
    if (!settings->data || !settings->data[0])
        return err_field(err, "--data", "--data: the data folder needs a name");
    if (check_together(settings->tls_cert, "--tls-cert", settings->tls_key, "--tls-key", err) ||
        check_notifications(settings, arena, err))
        return -1;
    if (settings->master_key_file && settings->master_key_command)
        return err_field(err, "--master-key-command",
                         "--master-key-file and --master-key-command: give one of them");
    if (settings->backoff_first_ms > settings->backoff_max_ms)
        return err_field(err, "--backoff-first", "--backoff-first must not be over --backoff-max");
    if (settings->input_max > settings->body_max)
        return err_field(err, "--max-input", "--max-input must not be over --max-body");
    settings->data = without_slash(settings->data, arena);
    if (!settings->data[0])
        settings->data = "/";
    if (!settings->cache)
        settings->cache = arena_printf(arena, "%s/cache", settings->data).at;
    if (!settings->public_url) {
        const char *scheme = settings->tls_cert ? "https" : "http";
        struct str where = reachable(str_of(settings->listen), arena);
        settings->public_url = arena_printf(arena, "%s://" STR_FMT, scheme, STR_ARG(where)).at;
    }
    settings->public_url = without_slash(settings->public_url, arena);
    if (check_url(settings->public_url, "--public-url", err))
        return -1;
    return complete_agent(settings, arena, err);
}
