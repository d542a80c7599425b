// Decompression of gzip (RFC 1952) piece by piece, on zlib.
#ifndef CINFLATE_H
#define CINFLATE_H

#include <stddef.h>
#include <stdint.h>

typedef struct cinflate cinflate;

/// NULL when there is no memory.
cinflate *cinflate_create(void);
void cinflate_destroy(cinflate *state);

/// Takes from `input` and writes to `output`, as much as fits; tells how much of each it used.
/// Returns 0 to go on, 1 at the end of a member, -1 for input that is not gzip.
int cinflate_run(cinflate *state, const uint8_t *input, size_t input_count, size_t *taken, uint8_t *output,
                 size_t output_count, size_t *written);

/// Gets ready for another member. Returns 0, or -1.
int cinflate_reset(cinflate *state);

#endif
