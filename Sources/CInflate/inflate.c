#include "CInflate.h"

#include <stdlib.h>
#include <zlib.h>

struct cinflate {
    z_stream stream;
};

// 15 is the largest window, 16 more asks for gzip and nothing else.
enum { window_bits = 15 + 16 };

cinflate *cinflate_create(void) {
    cinflate *state = calloc(1, sizeof *state);
    if (state == NULL) return NULL;
    if (inflateInit2(&state->stream, window_bits) != Z_OK) {
        free(state);
        return NULL;
    }
    return state;
}

void cinflate_destroy(cinflate *state) {
    if (state == NULL) return;
    inflateEnd(&state->stream);
    free(state);
}

int cinflate_run(cinflate *state, const uint8_t *input, size_t input_count, size_t *taken, uint8_t *output,
                 size_t output_count, size_t *written) {
    uInt in = input_count > 1u << 30 ? 1u << 30 : (uInt)input_count;
    uInt out = output_count > 1u << 30 ? 1u << 30 : (uInt)output_count;
    state->stream.next_in = (Bytef *)input;
    state->stream.avail_in = in;
    state->stream.next_out = output;
    state->stream.avail_out = out;
    int result = inflate(&state->stream, Z_NO_FLUSH);
    *taken = in - state->stream.avail_in;
    *written = out - state->stream.avail_out;
    state->stream.next_in = NULL;
    state->stream.next_out = NULL;
    if (result == Z_STREAM_END) return 1;
    // Z_BUF_ERROR says that no progress was possible, which is no failure.
    return result == Z_OK || result == Z_BUF_ERROR ? 0 : -1;
}

int cinflate_reset(cinflate *state) { return inflateReset(&state->stream) == Z_OK ? 0 : -1; }
