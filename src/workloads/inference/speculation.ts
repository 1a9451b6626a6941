/**
 * Speculative decoding: a draft model proposes k tokens one after another, the model checks all of them and computes the
 * token after them in one step. With the probability a that a token is accepted if those before it were,
 *
 *     tokens a step = 1 + a + a² + ... + a^k
 *
 * Leaves out: acceptance that differs by position or sequence; in a batch every sequence advances by its own number.
 * see: Leviathan et al., arXiv:2211.17192, equation 1.
 */

/** Expected tokens that a step yields, between 1 and k + 1. */
export function tokensPerStep(draftTokens: number, acceptance: number): number {
  let tokens = 1;
  let all = 1;
  for (let i = 0; i < draftTokens; i++) {
    all *= acceptance;
    tokens += all;
  }
  return tokens;
}
