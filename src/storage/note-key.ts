/** The key under which an engine keeps what its state machine wants back: before every key of a user, and seen by no operation. */
export const noteKey = Uint8Array.of(0)
/** Where operations begin that are given no beginning. */
export const firstKey = Uint8Array.of(1)
