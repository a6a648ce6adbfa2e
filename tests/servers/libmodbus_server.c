/* Modbus units for tests, over TCP or RTU, on libmodbus: not Python, not by the authors of our client.
 *
 * Every value tells where it comes from: register = 1000 * unit + address (input registers + 30000), modulo 65536;
 * coil = bit 0 of (address / 3 + unit), discrete input = its opposite. So a value under a wrong name shows.
 *
 * Usage: libmodbus_server LOG [OPTION ARGUMENT ...]; prints its port (0 without one) and serves until stdin ends.
 *   rtu UNIT:PATH                     the unit is on a serial line, at this terminal, and not on TCP
 *   listen HOST:PORT                  default 127.0.0.1:0; a HOST with colons is IPv6
 *   set UNIT:TABLE:ADDRESS:HEX        registers (four digits each); TABLE is a reading function code, 3 or 4
 *   illegal UNIT:TABLE:FIRST:LAST     exception 2 for a read that touches these addresses
 *   most UNIT:COUNT                   exception 3 for a read of more than COUNT
 *   exception UNIT:CODE               every request to the unit gets this exception
 *   silent UNIT                       requests to the unit get no answer
 *   delay UNIT:MS                     answers of the unit come late; the others wait
 * LOG gets one line for each request: unit function address count.
 */
#include <errno.h>
#include <modbus.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#define UNITS 256
#define ADDRESSES 65536
#define RULES 256

struct rule { char kind; int unit, table, first, last; };
struct station { int unit; const char *path; };

static modbus_mapping_t *units[UNITS];
static struct rule rules[RULES];
static int rule_count;
static struct station stations[UNITS];
static int station_count;
static FILE *log_file;

static modbus_mapping_t *mapping(int unit)
{
    if (units[unit] == NULL) {
        modbus_mapping_t *map = modbus_mapping_new(ADDRESSES, ADDRESSES, ADDRESSES, ADDRESSES);
        if (map == NULL)
            exit(1);
        for (int address = 0; address < ADDRESSES; address++) {
            map->tab_registers[address] = (uint16_t)(1000 * unit + address);
            map->tab_input_registers[address] = (uint16_t)(1000 * unit + address + 30000);
            map->tab_bits[address] = (address / 3 + unit) & 1;
            map->tab_input_bits[address] = !map->tab_bits[address];
        }
        units[unit] = map;
    }
    return units[unit];
}

static void set_registers(int unit, int table, int address, const char *hex)
{
    uint16_t *registers = table == 3 ? mapping(unit)->tab_registers : mapping(unit)->tab_input_registers;
    unsigned int word;
    for (; sscanf(hex, "%4x", &word) == 1; hex += 4)
        registers[address++] = (uint16_t)word;
}

static char host[64] = "127.0.0.1";
static const char *port = "0";

static void read_option(const char *name, const char *argument)
{
    int a = 0, b = 0, c = 0, d = 0, at = 0;
    sscanf(argument, "%d:%d:%d:%d", &a, &b, &c, &d);
    if (strcmp(name, "set") == 0) {
        sscanf(argument, "%*d:%*d:%*d:%n", &at);
        set_registers(a, b, c, argument + at);
    } else if (strcmp(name, "listen") == 0) {
        at = (int)(strrchr(argument, ':') - argument);
        snprintf(host, sizeof host, "%.*s", at, argument);
        port = argument + at + 1;
    } else if (strcmp(name, "rtu") == 0) {
        stations[station_count++] = (struct station){a, strchr(argument, ':') + 1};
    } else if (rule_count < RULES) {
        rules[rule_count++] = (struct rule){name[0], a, b, c, d};
    }
}

/* Answer one request. */
static void serve(modbus_t *ctx, const uint8_t *query, int length)
{
    const uint8_t *pdu = query + modbus_get_header_length(ctx);
    int unit = pdu[-1], function = pdu[0], first = pdu[1] << 8 | pdu[2], count = pdu[3] << 8 | pdu[4];
    fprintf(log_file, "%d %d %d %d\n", unit, function, first, count);
    fflush(log_file);
    for (int i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        if (rule->unit != unit)
            continue;
        if (rule->kind == 's')
            return;
        if (rule->kind == 'd')
            usleep(1000 * rule->table);
        if (rule->kind == 'e') {
            modbus_reply_exception(ctx, query, rule->table);
            return;
        }
        if (rule->kind == 'm' && count > rule->table) {
            modbus_reply_exception(ctx, query, MODBUS_EXCEPTION_ILLEGAL_DATA_VALUE);
            return;
        }
        if (rule->kind == 'i' && rule->table == function && first <= rule->last && rule->first < first + count) {
            modbus_reply_exception(ctx, query, MODBUS_EXCEPTION_ILLEGAL_DATA_ADDRESS);
            return;
        }
    }
    modbus_reply(ctx, query, length, mapping(unit));
}

/* One unit on a serial line, as long as the process runs. What it does not know it does not answer, function 8
 * among it: libmodbus 3.1 takes it for a shorter frame whose check is wrong. */
static void *serve_station(void *ctx)
{
    uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
    for (;;) {
        int length = modbus_receive(ctx, query);
        if (length > 0)
            serve(ctx, query, length);
        else if (length == -1)
            modbus_flush(ctx);
    }
    return NULL;
}

static int serve_line(void)
{
    for (int i = 0; i < station_count; i++) {
        pthread_t thread;
        modbus_t *ctx = modbus_new_rtu(stations[i].path, 115200, 'N', 8, 1);
        if (ctx == NULL || modbus_set_slave(ctx, stations[i].unit) == -1 || modbus_connect(ctx) == -1)
            return 1;
        modbus_set_byte_timeout(ctx, 0, 20000);     /* half a frame ends here */
        modbus_set_response_timeout(ctx, 0, 1000);  /* slept before some exceptions */
        mapping(stations[i].unit);
        if (pthread_create(&thread, NULL, serve_station, ctx) != 0)
            return 1;
    }
    puts("0");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}

static int serve_tcp(void)
{
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    struct sockaddr_in6 address; /* the port of an IPv4 address is in the same place */
    socklen_t address_size = sizeof address;
    modbus_t *ctx = modbus_new_tcp_pi(host, port);
    if (ctx == NULL)
        return 2;
    int listener = modbus_tcp_pi_listen(ctx, 16);
    if (listener == -1 || getsockname(listener, (struct sockaddr *)&address, &address_size) == -1)
        return 1;
    printf("%d\n", ntohs(address.sin6_port));
    fflush(stdout);

    fd_set open_sockets;
    FD_ZERO(&open_sockets);
    FD_SET(0, &open_sockets);
    FD_SET(listener, &open_sockets);
    int highest = listener;
    for (;;) {
        fd_set ready = open_sockets;
        if (select(highest + 1, &ready, NULL, NULL, NULL) == -1)
            return 1;
        if (FD_ISSET(0, &ready))
            return 0;
        for (int fd = 1; fd <= highest; fd++) {
            if (!FD_ISSET(fd, &ready))
                continue;
            if (fd == listener) {
                int client = accept(listener, NULL, NULL);
                if (client >= 0 && client < FD_SETSIZE) {
                    FD_SET(client, &open_sockets);
                    highest = client > highest ? client : highest;
                }
                continue;
            }
            modbus_set_socket(ctx, fd);
            int length = modbus_receive(ctx, query);
            if (length > 0) {
                serve(ctx, query, length);
            } else if (length == -1) {
                close(fd);
                FD_CLR(fd, &open_sockets);
            }
        }
    }
}

int main(int argc, char **argv)
{
    log_file = argc > 1 ? fopen(argv[1], "w") : NULL;
    if (log_file == NULL)
        return 2;
    for (int i = 2; i + 1 < argc; i += 2)
        read_option(argv[i], argv[i + 1]);
    return station_count > 0 ? serve_line() : serve_tcp();
}
