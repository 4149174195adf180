/** The rules of Slots (N1 to N3 of `src/platform.ts`): what processes of one profile see of each other's storage, and who gets it. */
import type { Directory, Result, Slots } from '../../src/platform.ts'
import { answer, check, checkEqual, type Rule, type Waiting } from './rule.ts'

export interface Owner {
  readonly slot: number
  /** Its process is gone, in whatever way; what it wrote is there. */
  die(): Promise<void>
}

export interface SlotsHarness extends Waiting {
  /** Of two processes, beside the owners. */
  readonly slots: readonly [Slots, Slots]
  /** A process that has a store, with the file `pages`, in a slot of its own. */
  owner(): Promise<Owner>
  /** An owner that is back: comes when it has its slot. */
  claim(slot: number): Promise<Owner>
  /** The owner's process does nothing any more, and is not gone. */
  readonly freeze?: (owner: Owner) => void
}

const free = async (harness: SlotsHarness, slots: Slots): Promise<readonly number[]> => {
  const found = await answer<Result<readonly number[]>>(harness, 'looking for free slots', done => slots.free(done))
  if (!found.ok) throw found.error
  return found.value
}

const take = async (
  harness: SlotsHarness,
  slots: Slots,
  slot: number,
  onWanted: () => void = () => {},
): Promise<Directory | undefined> => {
  const events = { onWanted, onLost: () => check(false, 'nobody takes a lock by force') }
  const taken = await answer<Result<Directory | undefined>>(harness, 'taking a slot', done =>
    slots.take(slot, events, done),
  )
  if (!taken.ok) throw taken.error
  return taken.value
}

const close = (harness: SlotsHarness, directory: Directory): Promise<unknown> =>
  answer(harness, 'closing', done => directory.close(done))

export const slotsRules: readonly Rule<SlotsHarness>[] = [
  {
    id: 'N1',
    title: 'free are the slots that have a store and that nobody holds, for everybody',
    async run(harness) {
      const [here, there] = harness.slots
      checkEqual(await free(harness, here), [], 'where there is nothing')
      const first = await harness.owner()
      const second = await harness.owner()
      check(first.slot !== second.slot, 'two owners have one slot')
      checkEqual(await free(harness, here), [], 'both have an owner')
      await first.die()
      checkEqual(await free(harness, here), [first.slot], 'one is gone')
      checkEqual(await free(harness, there), [first.slot], 'one is gone')
      await second.die()
      checkEqual(await free(harness, here), [first.slot, second.slot].sort(), 'both are gone')
      const directory = await take(harness, here, first.slot)
      checkEqual(await free(harness, here), [second.slot], 'who has taken one')
      checkEqual(await free(harness, there), [second.slot], 'the other one')
      await close(harness, directory!)
      checkEqual(await free(harness, there), [first.slot, second.slot].sort(), 'it was given back')
    },
  },
  {
    id: 'N2',
    title: 'take gets what is free, with everything that is in it, and nothing else',
    async run(harness) {
      const [here, there] = harness.slots
      const { slot, die } = await harness.owner()
      check((await take(harness, here, slot)) === undefined, 'its owner has it')
      await die()
      const directory = await take(harness, here, slot)
      check(directory !== undefined, 'it is free')
      check((await take(harness, there, slot)) === undefined, 'somebody else has it')
      const names = await answer<Result<readonly string[]>>(harness, 'listing', done => directory.list(done))
      checkEqual(names.ok && names.value, ['pages'], 'the files')
      await close(harness, directory)
      const again = await take(harness, there, slot)
      check(again !== undefined, 'it is free again')
      await close(harness, again)
    },
  },
  {
    id: 'N2',
    title: 'of two who take one at once, one gets it',
    async run(harness) {
      const [here, there] = harness.slots
      const { slot, die } = await harness.owner()
      await die()
      for (let i = 0; i < 5; i++) {
        const given: Result<Directory | undefined>[] = []
        for (const slots of [here, there])
          slots.take(slot, { onWanted: () => {}, onLost: () => {} }, one => given.push(one))
        await harness.until(() => given.length === 2, 'both are answered')
        const directories = given.flatMap(one => (one.ok && one.value !== undefined ? [one.value] : []))
        checkEqual(directories.length, 1, 'who got it')
        await close(harness, directories[0]!)
      }
    },
  },
  {
    id: 'N2',
    title: 'an owner that is back asks for it, waits until it is closed, and is not overtaken',
    async run(harness) {
      const [here, there] = harness.slots
      const { slot, die } = await harness.owner()
      await die()
      let wanted = 0
      const directory = await take(harness, here, slot, () => wanted++)
      const got: Owner[] = []
      const claiming = harness.claim(slot).then(owner => got.push(owner))
      await harness.until(() => wanted > 0, 'it is asked for')
      check(got.length === 0, 'two have it')
      let closed = false
      directory!.close(() => {
        closed = true
      })
      check((await take(harness, there, slot)) === undefined, 'somebody else took it')
      checkEqual(await free(harness, there), [], 'free')
      await harness.until(() => closed && got.length > 0, 'its owner has it')
      await claiming
      const [owner] = got
      checkEqual(owner?.slot, slot, 'the slot')
      await owner?.die()
      checkEqual(await free(harness, there), [slot], 'free')
    },
  },
  {
    id: 'N3',
    title: 'a process that is frozen keeps what it holds',
    needs: ['freeze'],
    async run(harness) {
      const owner = await harness.owner()
      harness.freeze!(owner)
      checkEqual(await free(harness, harness.slots[0]), [], 'free')
      check((await take(harness, harness.slots[0], owner.slot)) === undefined, 'it was held')
    },
  },
]
