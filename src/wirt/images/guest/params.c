/* Parameters: `key=value` words of the kernel command line, and, where firmware started a disk whose command line is
 * fixed, SMBIOS type 11 strings `wirt:key=value` (QEMU: -smbios type=11,value=...). The command line is read last and
 * so wins. */
#include "guest.h"

#include <stdio.h>
#include <string.h>

struct text_key {
    const char *key;
    size_t offset, size;
};

#define TEXT_KEY(field) {#field, offsetof(struct params, field), sizeof(((struct params *)0)->field)}

static const struct text_key text_keys[] = {
    TEXT_KEY(ip), TEXT_KEY(gw), TEXT_KEY(hostname), TEXT_KEY(dirty), TEXT_KEY(flood), TEXT_KEY(spin),
};

static bool is_plain(const char *value)
{
    for (; *value != '\0'; value++)
        if (strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.:/-", *value) == NULL)
            return false;
    return true;
}

/* False only for a key that is ours with a value that is not allowed. */
static bool set_param(struct params *p, const char *key, const char *value)
{
    uint64_t number;

    for (size_t i = 0; i < sizeof text_keys / sizeof *text_keys; i++)
        if (strcmp(key, text_keys[i].key) == 0) {
            if (!is_plain(value) || strlen(value) >= text_keys[i].size)
                return false;
            strcpy((char *)p + text_keys[i].offset, value);
            return true;
        }
    if (strcmp(key, "tick") == 0) {
        if (!parse_number(value, 3600000, &number))
            return false;
        p->tick_ms = (unsigned)number;
    } else if (strcmp(key, "shell") == 0) {
        if (!parse_number(value, 1, &number))
            return false;
        p->shell = number != 0;
    }
    return true;
}

static void take_word(struct params *p, char *word)
{
    char *equals = strchr(word, '=');

    if (equals == NULL)
        return;
    *equals = '\0';
    if (!set_param(p, word, equals + 1))
        say("wirt-tiny ignored a bad value of %s", word);
}

static void take_oem_string(struct params *p, const char *string, size_t length)
{
    static const char prefix[] = "wirt:";
    char word[LINE_MAX_BYTES];

    if (length >= sizeof word || strncmp(string, prefix, sizeof prefix - 1) != 0)
        return;
    memcpy(word, string, length);
    word[length] = '\0';
    take_word(p, word + sizeof prefix - 1);
}

enum { OEM_STRINGS = 11, END_OF_TABLE = 127 };

/* Walks the raw SMBIOS table (DMTF DSP0134, 6.1): a formatted area of `length` bytes, then strings each ended by a
 * zero, then one more zero. Every step stays within `size` whatever the table says. */
static void read_smbios(struct params *p, const char *table, size_t size)
{
    size_t at = 0;

    while (at + 4 <= size) {
        unsigned type = (unsigned char)table[at], length = (unsigned char)table[at + 1];

        if (length < 4 || at + length >= size || type == END_OF_TABLE)
            return;
        at += length;
        if (table[at] == '\0')
            at++; /* no strings at all: the set is then two zeros */
        while (at < size && table[at] != '\0') {
            size_t n = strnlen(table + at, size - at);

            if (type == OEM_STRINGS)
                take_oem_string(p, table + at, n);
            at += n + 1;
        }
        at++;
    }
}

void read_params(struct params *p)
{
    static char text[32768];
    char *words[256];
    ssize_t n;

    *p = (struct params){.hostname = "tiny", .tick_ms = 1000, .shell = true};
    if ((n = read_file("/sys/firmware/dmi/tables/DMI", text, sizeof text)) > 0)
        read_smbios(p, text, (size_t)n);
    if (read_file("/proc/cmdline", text, sizeof text) > 0) {
        int count = split_words(text, words, 256);

        for (int i = 0; i < count; i++)
            take_word(p, words[i]);
    }
}
