/** Assertions state what only a bug can make false. What the world does (I/O, peers, users) is a typed error instead. */

export class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

/** @throws AssertionError when `condition` is false: a bug in HarmonyDB. The peer that hits one must stop. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(`bug: ${message}`)
}

/** For the branch that an exhaustive `switch` leaves no value for. */
export function unreachable(value: never): never {
  throw new AssertionError(`bug: unexpected value ${String(value)}`)
}
