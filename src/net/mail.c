// SPDX-License-Identifier: Apache-2.0
#include "net/mail.h"

#include <curl/curl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CONNECT_MS   10000
#define LINE_BYTES   57  // 76 characters of base64
#define WORD_BYTES   42  // of an encoded word, which may have 75 characters in all
#define MAIL_MAX     (4 << 20)
#define REFUSED_FROM 550  // to 554: this address, this mail; other 5xx a person may mend
#define REFUSED_TO   554

// ── composing (RFC 5322, 2045, 2047) ─────────────────────────────────────────────────────────

static void add_base64(struct buf *out, struct str bytes)
{
    char text[128];
    sodium_bin2base64(text, sizeof(text), (const unsigned char *)bytes.at, bytes.len,
                      sodium_base64_VARIANT_ORIGINAL);
    buf_add_cstr(out, text);
}

// Always as encoded words: no line break and no other header can come of it.
static void add_subject(struct buf *out, struct str text)
{
    buf_add_cstr(out, "Subject:");
    do {
        size_t len = 0, step;
        while (len < text.len && (step = str_utf8_step(text.at + len, text.len - len)) > 0 &&
               len + step <= WORD_BYTES)
            len += step;
        if (len == 0 && text.len > 0)
            break;  // not UTF-8
        buf_add_cstr(out, " =?utf-8?B?");
        add_base64(out, (struct str){text.at, len});
        buf_add_cstr(out, "?=\r\n");
        text = (struct str){text.at + len, text.len - len};
    } while (text.len > 0);
}

static void add_text(struct buf *out, struct str text)
{
    while (text.len > 0) {
        size_t len = text.len < LINE_BYTES ? text.len : LINE_BYTES;
        add_base64(out, (struct str){text.at, len});
        buf_add_cstr(out, "\r\n");
        text = (struct str){text.at + len, text.len - len};
    }
}

static void add_date(struct buf *out, int64_t now)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t seconds = (time_t)(now / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    buf_printf(out, "Date: %.3s, %d %.3s %d %02d:%02d:%02d +0000\r\n", days + 3 * tm.tm_wday,
               tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
               tm.tm_sec);
}

void mail_compose(const struct mail *mail, struct buf *out)
{
    add_date(out, mail->now);
    buf_printf(out, "From: Drover <%s>\r\nTo: <%s>\r\nMessage-ID: <%s@drover>\r\n", mail->from,
               mail->to, mail->id);
    add_subject(out, mail->subject);
    buf_add_cstr(out, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
                      "Content-Type: text/plain; charset=utf-8\r\n"
                      "Content-Transfer-Encoding: base64\r\n\r\n");
    add_text(out, mail->text);
}

// ── sending ──────────────────────────────────────────────────────────────────────────────────

static size_t on_read(char *at, size_t size, size_t count, void *cls)
{
    struct str *rest = cls;
    size_t len = size * count < rest->len ? size * count : rest->len;
    memcpy(at, rest->at, len);
    *rest = (struct str){rest->at + len, rest->len - len};
    return len;
}

static int on_progress(void *cls, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const atomic_bool *stop = cls;
    (void)a, (void)b, (void)c, (void)d;
    return stop && atomic_load(stop);
}

static bool is_here(const char *server)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    struct str host = str_of(strstr(server, "://") ? strstr(server, "://") + 3 : server);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t len = strlen(names[i]);
        if (str_starts(host, str_of(names[i])) &&
            (host.len == len || host.at[len] == ':' || host.at[len] == '/'))
            return true;
    }
    return false;
}

static void set_options(CURL *easy, const struct mail *mail)
{
    bool login = mail->user != NULL;
    long tls = login && !is_here(mail->server) ? CURLUSESSL_ALL : CURLUSESSL_TRY;
    curl_easy_setopt(easy, CURLOPT_URL, mail->server);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(easy, CURLOPT_USE_SSL, tls);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)mail->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, (void *)(uintptr_t)mail->stop);
    if (login) {
        curl_easy_setopt(easy, CURLOPT_USERNAME, mail->user);
        curl_easy_setopt(easy, CURLOPT_PASSWORD, mail->password);
    }
}

static int explain(CURL *easy, CURLcode code, const char *text, const struct mail *mail,
                   struct err *err)
{
    long reply = 0;
    if (code == CURLE_OK)
        return 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &reply);
    bool refused = reply >= REFUSED_FROM && reply <= REFUSED_TO;
    return err_set(err, refused ? ERR_DENIED : ERR_UNAVAILABLE, "mail to %s through %s: %s",
                   mail->to, mail->server, text[0] ? text : curl_easy_strerror(code));
}

int mail_send(const struct mail *mail, struct err *err)
{
    char error[CURL_ERROR_SIZE] = "";
    _cleanup_buf_ struct buf bytes = BUF_INIT(MAIL_MAX), to = BUF_INIT(4096);
    CURL *easy = curl_easy_init();
    if (!easy)
        return err_set(err, ERR_UNAVAILABLE, "out of memory sending a mail");
    buf_printf(&to, "<%s>%c", mail->to, '\0');
    struct curl_slist *people = curl_slist_append(NULL, to.at);
    mail_compose(mail, &bytes);
    struct str rest = buf_str(&bytes);
    set_options(easy, mail);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(easy, CURLOPT_MAIL_FROM, mail->from);
    curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, people);
    curl_easy_setopt(easy, CURLOPT_READDATA, &rest);
    int rc = explain(easy, curl_easy_perform(easy), error, mail, err);
    curl_slist_free_all(people);
    curl_easy_cleanup(easy);
    return rc;
}
