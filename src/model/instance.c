// SPDX-License-Identifier: Apache-2.0
#include "model/runtime.h"

#define MIB_OF_GIB(tenths) ((tenths)*1024 / 10)

#define TYPE(label, cpu, memory_tenths_gib)                                                        \
    {                                                                                              \
        .name = {label, sizeof(label) - 1}, .cpu_milli = (cpu),                                    \
        .memory_mib = MIB_OF_GIB(memory_tenths_gib)                                                \
    }
#define GPU_TYPE(label, cpu, memory_tenths_gib, card, cards)                                       \
    {                                                                                              \
        .name = {label, sizeof(label) - 1}, .cpu_milli = (cpu),                                    \
        .memory_mib = MIB_OF_GIB(memory_tenths_gib), .gpu = {card, sizeof(card) - 1},              \
        .gpu_count = (cards)                                                                       \
    }

// The names are published, the sizes of the regular and T4 types too. Our own choice: highmem has
// the cores of its regular namesake and twice the memory, highcpu-xs the memory of regular-xs and
// twice the cores, and the A100 types are one card or four with the memory usual per card.
static const struct instance_type catalog[] = {
    TYPE("regular-xs", 500, 17),
    TYPE("regular-s", 1000, 35),
    TYPE("regular-m", 2000, 70),
    TYPE("regular-l", 4000, 140),
    TYPE("highmem-xs", 500, 34),
    TYPE("highmem-s", 1000, 70),
    TYPE("highmem-m", 2000, 140),
    TYPE("highmem-l", 4000, 280),
    TYPE("highcpu-xs", 1000, 17),
    GPU_TYPE("gpu-t4", 4000, 140, "T4", 1),
    GPU_TYPE("gpu-t4-m", 4000, 280, "T4", 1),
    GPU_TYPE("gpu-a100-s", 12000, 800, "A100", 1),
    GPU_TYPE("gpu-a100-4g", 48000, 3200, "A100", 4),
    GPU_TYPE("gpu-a100-4g-m", 48000, 6400, "A100", 4),
};

#define CATALOG_COUNT (sizeof(catalog) / sizeof(*catalog))

const struct instance_type *instance_find(struct str name)
{
    for (size_t i = 0; i < CATALOG_COUNT; i++) {
        if (str_eq(name, catalog[i].name))
            return &catalog[i];
    }
    return NULL;
}

const struct instance_type *instance_catalog(size_t *count)
{
    *count = CATALOG_COUNT;
    return catalog;
}

static void encode_type(const struct instance_type *type, struct json_writer *out)
{
    json_w_object(out);
    json_w_pair_str(out, "name", type->name);
    json_w_key(out, "cpu");
    json_w_double(out, (double)type->cpu_milli / 1000);
    json_w_pair_int(out, "memoryMib", type->memory_mib);
    json_w_key(out, "gpu");
    if (type->gpu.at) {
        json_w_object(out);
        json_w_pair_str(out, "type", type->gpu);
        json_w_pair_int(out, "count", type->gpu_count);
        json_w_object_end(out);
    } else {
        json_w_null(out);
    }
    json_w_pair_bool(out, "default", str_is(type->name, INSTANCE_DEFAULT));
    json_w_object_end(out);
}

void instance_catalog_encode(struct json_writer *out)
{
    json_w_array(out);
    for (size_t i = 0; i < CATALOG_COUNT; i++)
        encode_type(&catalog[i], out);
    json_w_array_end(out);
}
