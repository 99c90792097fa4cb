/* sts/policy_internal.h - making a policy out of its parts. */
#ifndef STS_POLICY_INTERNAL_H
#define STS_POLICY_INTERNAL_H
#include "sts/sts.h"

/* names: count canonical patterns, each with a NUL behind. */
struct sts_policy *sts_policy_new(enum sts_mode mode, uint32_t max_age,
                                  struct sv names, size_t count);
#endif
