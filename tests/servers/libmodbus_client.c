/* Reads and writes with every function of libmodbus, for tests: not Python, not by the authors of our simulator.
 *
 * Usage: libmodbus_client PORT|PATH UNIT FUNCTION ADDRESS COUNT [VALUE ...]; prints what it got, or "exception MESSAGE".
 * A path is that of a serial line, for RTU.
 */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    uint8_t bits[2000] = {0};
    uint16_t words[125] = {0}, values[125] = {0};
    if (argc < 6)
        return 2;
    int function = atoi(argv[3]), address = atoi(argv[4]), count = atoi(argv[5]), got = -1;
    for (int i = 6; i < argc && i < 6 + 125; i++)
        values[i - 6] = (uint16_t)strtol(argv[i], NULL, 0);
    modbus_t *ctx = strchr(argv[1], '/') ? modbus_new_rtu(argv[1], 115200, 'N', 8, 1)
                                         : modbus_new_tcp("127.0.0.1", atoi(argv[1]));
    if (ctx == NULL || modbus_set_slave(ctx, atoi(argv[2])) == -1 || modbus_connect(ctx) == -1)
        return 1;
    switch (function) {
    case 1: got = modbus_read_bits(ctx, address, count, bits); break;
    case 2: got = modbus_read_input_bits(ctx, address, count, bits); break;
    case 3: got = modbus_read_registers(ctx, address, count, words); break;
    case 4: got = modbus_read_input_registers(ctx, address, count, words); break;
    case 5: got = modbus_write_bit(ctx, address, values[0]); break;
    case 6: got = modbus_write_register(ctx, address, values[0]); break;
    case 15:
        for (int i = 0; i < count; i++)
            bits[i] = (uint8_t)values[i];
        got = modbus_write_bits(ctx, address, count, bits);
        break;
    case 16: got = modbus_write_registers(ctx, address, count, values); break;
    case 22: got = modbus_mask_write_register(ctx, address, values[0], values[1]); break;
    case 23: got = modbus_write_and_read_registers(ctx, address, argc - 6, values, address, count, words); break;
    }
    if (got == -1)
        printf("exception %s", modbus_strerror(errno));
    for (int i = 0; i < count && got != -1; i++)
        printf("%d ", function == 1 || function == 2 ? bits[i] : words[i]);
    printf("\n");
    modbus_close(ctx);
    modbus_free(ctx);
    return 0;
}
