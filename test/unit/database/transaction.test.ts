/** What a transaction holds, and when it lets go of it, over a peer in this realm. */
import { describe, expect, it } from 'vitest'
import type { Core } from '../../../src/database/core.ts'
import { createDatabase } from '../../../src/database/database.ts'
import type { LocalCore } from '../../../src/database/local-core.ts'
import { pageEntries } from '../../../src/database/scan.ts'
import type { Database, Op, Transaction } from '../../../src/database/types.ts'
import { openLoneCore } from '../../lone-core.ts'

async function withCore(run: (db: Database, core: LocalCore) => Promise<void>): Promise<void> {
  const core = await openLoneCore()
  const db = createDatabase(core)
  await run(db, core)
  await db.close()
}

const held = (core: LocalCore): number => core.mirror().status.snapshots.held

const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'fulfilled',
    error => error.code,
  )

/** As behind a port, or where a page has to be read: what it is asked there waits for `go`. */
function slowly(core: LocalCore, verb: 'getMany' | 'snapshot' | 'write'): { readonly slow: Core; go(): void } {
  let go = (): void => {}
  const gone = new Promise<void>(resolve => {
    go = resolve
  })
  const ask = core[verb].bind(core) as (...args: unknown[]) => unknown
  const slow: Core = Object.create(core, {
    [verb]: { value: async (...args: unknown[]) => gone.then(() => ask(...args)) },
  })
  return { slow, go }
}

describe('the state of a transaction', () => {
  for (const end of ['rollback', 'commit'] as const) {
    it(`is not taken again by a scan that goes on after its ${end}`, async () => {
      await withCore(async (db, core) => {
        const puts = Array.from({ length: pageEntries + 1 }, (_, i): Op => ({ type: 'put', key: i, value: i }))
        await db.batch(puts)
        const tx = await db.begin()
        const entries = tx.scan()[Symbol.asyncIterator]()
        for (let i = 0; i < pageEntries; i++) await entries.next()
        if (end === 'commit') tx.put('other', 1)
        await tx[end]()
        expect(held(core)).toBe(0)
        expect(await codeOf(entries.next())).toBe('VALIDATION')
        expect(held(core)).toBe(0)
      })
    })
  }

  for (const end of ['rollback', 'commit'] as const) {
    for (const hasRead of [false, true]) {
      it(`is let go where a lock comes at its ${end}, ${hasRead ? 'and with it a newer one' : 'and the first read'}`, async () => {
        await withCore(async (db, core) => {
          await db.put('a', 1)
          for (let turns = 0; turns < 40; turns++) {
            const tx = await db.begin()
            if (hasRead) await tx.get('a')
            await db.put('b', turns)
            void tx.get('a', { forUpdate: true }).catch(() => {})
            for (let turn = 0; turn < turns; turn++) await undefined
            tx.put('c', turns)
            await codeOf(tx[end]())
            await new Promise(resolve => setTimeout(resolve, 0))
            expect([turns, held(core)]).toEqual([turns, 0])
          }
        })
      })
    }
  }

  it('stays until the last read is answered that was under way when it was committed', async () => {
    await withCore(async (db, core) => {
      await db.batch([
        { type: 'put', key: 'a', value: 1 },
        { type: 'put', key: 'b', value: 2 },
      ])
      const { slow, go } = slowly(core, 'getMany')
      const tx = await createDatabase(slow).begin()
      const read = tx.getMany(['a', 'b'])
      tx.put('a', 3)
      await tx.commit()
      await db.put('b', 4)
      expect(held(core)).toBe(1)
      go()
      expect(await read).toEqual([1, 2])
      expect(held(core)).toBe(0)
    })
  })

  it('is let go once, where a newer one was on its way when it was committed', async () => {
    await withCore(async (db, core) => {
      await db.put('a', 1)
      const { slow, go } = slowly(core, 'snapshot')
      const tx = await createDatabase(slow).begin()
      const first = tx.get('a')
      await new Promise(resolve => setTimeout(resolve, 0))
      const other = await db.snapshot()
      go()
      expect(await first).toBe(1)
      await db.put('b', 1)
      const late = codeOf(tx.get('a', { forUpdate: true }))
      for (let turn = 0; turn < 5; turn++) await undefined
      tx.put('c', 1)
      await tx.commit()
      await late
      expect(held(core)).toBe(1)
      expect(await other.get('b')).toBe(undefined)
      await other.close()
      expect(held(core)).toBe(0)
    })
  })

  it('is the only one that it reads: what gets its lock while it is being committed is refused', async () => {
    await withCore(async (db, core) => {
      await db.put('a', 1)
      const { slow, go } = slowly(core, 'write')
      const other = await db.begin()
      await other.get('b', { forUpdate: true })
      const tx = await createDatabase(slow).begin()
      await tx.get('a')
      tx.put('c', 1)
      const late = codeOf(tx.get('b', { forUpdate: true }))
      const committing = tx.commit()
      other.put('b', 1)
      await other.commit()
      expect(await late).toBe('VALIDATION')
      go()
      await committing
      expect(held(core)).toBe(0)
    })
  })
})

it('a transaction that is being committed is not given up by `abort`, and is what its caller hears that it is', async () => {
  await withCore(async db => {
    const tx = await db.begin()
    tx.put('a', 1)
    const committing = tx.commit()
    expect(() => tx.abort('too late')).toThrow('it is being committed')
    await committing
    expect(await db.get('a')).toBe(1)

    const heard: unknown[] = []
    const giveUp = async (late: Transaction, turns: number): Promise<void> => {
      for (let turn = 0; turn < turns; turn++) await undefined
      late.abort('too late')
    }
    for (let turns = 0; turns < 30; turns++) {
      const running = db.transaction(tx => {
        tx.put(turns, 1)
        void codeOf(giveUp(tx, turns))
      })
      heard.push([await codeOf(running), await db.get(turns)])
    }
    expect(heard).toContainEqual(['fulfilled', 1])
    for (const one of heard)
      expect([
        ['fulfilled', 1],
        ['ABORTED', undefined],
      ]).toContainEqual(one)
    const committed = 1 + heard.filter(one => (one as unknown[])[1] === 1).length
    expect(db.status().transactions).toMatchObject({ active: 0, committed, aborted: 31 - committed })
  })
})

for (const end of ['commit', 'prepare'] as const) {
  it(`a signal that fires while ${end} waits for what it has to read first is heard, and nothing is written`, async () => {
    await withCore(async (db, core) => {
      const { slow, go } = slowly(core, 'getMany')
      const stop = new AbortController()
      const tx = await createDatabase(slow).begin({ isolation: 'snapshot', signal: stop.signal })
      void tx.get('a')
      tx.put('b', 1)
      const ending = codeOf(tx[end]())
      stop.abort()
      go()
      expect(await ending).toBe('ABORTED')
      expect([await db.get('b'), await db.prepared.list(), held(core)]).toEqual([undefined, [], 0])
    })
  })
}
