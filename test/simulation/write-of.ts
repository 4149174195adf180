import type { WriteRequest } from '../../src/cluster/writes.ts'

/** Writes without conditions. */
export const writeOf = (ops: WriteRequest['ops']): WriteRequest => ({
  ops,
  checks: [],
  ranges: [],
  idempotencyKey: undefined,
})
