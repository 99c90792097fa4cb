/* mail/content.h - message content on the wire: dot transparency and line ends.
 *
 * RFC 5321 section 4.5.2.  Only CRLF "." CRLF ends DATA.  A bare CR or LF (also
 * NUL) is a smuggling attempt or a broken client: the decoder notes it and goes
 * on to the true end, so that the caller refuses the whole message there; or
 * it turns each into CRLF for peers that are configured so. */
#ifndef MAIL_CONTENT_H
#define MAIL_CONTENT_H
#include "base/buf.h"

enum content_newlines { CONTENT_REJECT, CONTENT_NORMALIZE };

enum content_flaw { /* bits: what was seen */
                    CONTENT_BARE_LF = 1,
                    CONTENT_BARE_CR = 2,
                    CONTENT_NUL = 4,
                    CONTENT_LONG_LINE =
                        8, /* above 998 octets without CRLF; only noted */
};

/* Decoder of one message, for DATA (dots undone, end found) and BDAT (neither;
 * line ends are checked across chunk borders). */
struct content_decoder {
    enum content_newlines newlines;
    bool dots;      /* DATA */
    bool ended;     /* the end of DATA was seen */
    unsigned flaws; /* enum content_flaw */
    /* private */
    uint8_t state;
    uint32_t column;
};
void content_decoder_init(struct content_decoder *decoder, bool dots,
                          enum content_newlines newlines);

/* Decodes from *in, which moves past what was used, and hands each run of
 * decoded bytes to emit (runs point into the input or to constants: no copy is
 * made here).  Stops at the end of DATA. */
void content_decode(struct content_decoder *decoder, struct sv *in,
                    void (*emit)(void *arg, struct sv run), void *arg);
/* BDAT LAST: the message is over; a lone CR at the end counts as a flaw and a
 * last line without CRLF gets one. */
void content_decode_end(struct content_decoder *decoder,
                        void (*emit)(void *arg, struct sv run), void *arg);

/* Encoder for DATA on the way out: doubles dots at line starts.  The stored
 * content has CRLF line ends only. */
struct content_encoder {
    bool line_start; /* private; true at the beginning */
    bool last_cr;
};
void content_encoder_init(struct content_encoder *encoder);
void content_encode(struct content_encoder *encoder, struct sv in,
                    void (*emit)(void *arg, struct sv run), void *arg);
/* What must follow the content to end DATA: ".\r\n", with a CRLF in front when
 * the content did not end in one. */
struct sv content_encode_end(const struct content_encoder *encoder);
#endif
