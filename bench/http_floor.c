// SPDX-License-Identifier: Apache-2.0
// What HTTP alone costs: libmicrohttpd on one epoll thread answers every POST with a 201 and the
// JSON of an execution that was never made. Usage: http_floor PORT
#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arguments.h"

static enum MHD_Result answer(void *arg, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **state)
{
    static int begun;
    static const char body[] = "{\"id\":\"65f000000000000000000001\",\"functionName\":\"run\","
                               "\"latestStatus\":{\"status\":\"created\",\"percentComplete\":0}}";
    (void)arg, (void)url, (void)method, (void)version, (void)data;
    if (!*state) {
        *state = &begun;
        return MHD_YES;
    }
    if (*size) {
        *size = 0;
        return MHD_YES;
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(
        sizeof(body) - 1, (void *)(uintptr_t)body, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(response, "content-type", "application/json");
    enum MHD_Result result = MHD_queue_response(connection, 201, response);
    MHD_destroy_response(response);
    return result;
}

int main(int argc, char **argv)
{
    static const char usage[] = "http_floor PORT (a free one)";
    check_arguments(argc, argv, 1, 1, usage);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)(strtol(argv[1], NULL, 10))),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL,
                                                 answer, NULL, MHD_OPTION_SOCK_ADDR, &at,
                                                 MHD_OPTION_END);
    if (!daemon) {
        fprintf(stderr, "usage: %s\n", usage);
        return 1;
    }
    pause();
    MHD_stop_daemon(daemon);
    return 0;
}
