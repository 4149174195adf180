/** Decisions and prepares as they come to a peer from elsewhere: over a socket or a port, past the checks of the public API. */
import { expect, it } from 'vitest'
import { timestamp } from '../../../src/base/ids.ts'
import type { CorePrepare, CoreWrite } from '../../../src/database/core.ts'
import { openLoneCore } from '../../lone-core.ts'

const timeoutMs = 5000
const write = (key: number, more: Partial<CoreWrite> = {}): CoreWrite => ({
  ops: [{ type: 'put', key: Uint8Array.of(key), value: Uint8Array.of(1) }],
  checks: [],
  ranges: undefined,
  idempotencyKey: undefined,
  timeoutMs,
  ...more,
})

it('an id that no log entry can have is VALIDATION, and the peer goes on', async () => {
  const core = await openLoneCore()
  for (const id of ['', 'x'.repeat(2000)]) {
    await expect(core.decide({ id, commit: true, timeoutMs })).rejects.toMatchObject({ code: 'VALIDATION' })
    const as: CorePrepare = { id, holdMs: 1000 }
    await expect(core.prepare(write(1), as)).rejects.toMatchObject({ code: 'VALIDATION' })
  }
  await core.write(write(1))
  await core.close()
})

it('one that could never be prepared is told so, and not that others are in its way', async () => {
  const core = await openLoneCore()
  const ranges = Array.from({ length: 1025 }, (_, i) => {
    const from = Uint8Array.of(9, i >> 8, i & 255, 0)
    return { from, to: Uint8Array.of(9, i >> 8, i & 255, 1), at: timestamp(0), count: 0 }
  })
  const as: CorePrepare = { id: 'large', holdMs: 1000 }
  await expect(core.prepare(write(1, { ranges }), as)).rejects.toMatchObject({ code: 'TOO_LARGE', retryable: false })
  await core.prepare(write(1, { ranges: ranges.slice(1) }), as)
  // Beside that one there is no room for another range.
  const other = core.prepare(write(2, { ranges: ranges.slice(0, 1) }), { id: 'other', holdMs: 1000 })
  await expect(other).rejects.toMatchObject({ code: 'TOO_LARGE', retryable: true })
  await core.close()
})
