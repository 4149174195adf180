/** The client side of writes, apart from a cluster: what becomes of a decision whose leader did not know yet what was prepared. */
import { expect, it } from 'vitest'
import { timestamp } from '../../../src/base/ids.ts'
import { decisionOf } from '../../../src/cluster/prepared-deadlines.ts'
import { type WriteResult, Writes } from '../../../src/cluster/writes.ts'
import type { Clock } from '../../../src/platform.ts'
import type { Command } from '../../../src/shard/command.ts'

const clock: Clock = { now: () => 0, wall: () => 0, after: () => () => {}, soon: run => run() }

it('a decision that did not say what was prepared is sent again, under its serial, until it is done', () => {
  const posted: Command[] = []
  let session = ''
  const writes = new Writes({
    clock,
    random: { fill: bytes => bytes.fill(7) },
    post(of, _serial, command) {
      session = of
      posted.push(command)
      return 'sent'
    },
  })
  const results: WriteResult[] = []
  writes.submit(decisionOf('x', 'committed'), 1000, result => results.push(result))
  writes.sessionOpened(session)
  expect(posted.map(({ type }) => type)).toEqual(['openSession', 'writes'])
  const at = timestamp(9)
  for (let times = 0; times < 2; times++)
    writes.applied(session, [{ serial: 1, outcome: { type: 'unready' }, at, ops: [] }])
  expect(posted).toHaveLength(4)
  expect(posted[3]).toMatchObject({ writes: [{ serial: 1, phase: { type: 'decide', id: 'x' } }] })
  expect(results).toEqual([])
  const outcome = { type: 'committed', at } as const
  writes.applied(session, [{ serial: 1, outcome, at, ops: [] }])
  expect(results).toEqual([{ outcome }])
  expect([posted.length, writes.count]).toEqual([4, 0])
})
