/** The simulation under the conformance suites: waiting runs the world. */
import type { NetworkOptions } from '../../platform/simulation/conditions.ts'
import type { SimulatedProcess } from '../../platform/simulation/process.ts'
import { World } from '../../platform/simulation/world.ts'
import type { Directory, Result } from '../../src/platform.ts'
import type { ClockHarness } from './clock-suite.ts'
import type { EndpointHarness } from './endpoint-suite.ts'
import { RuleBroken } from './rule.ts'
import type { Owner, SlotsHarness } from './slots-suite.ts'
import type { StorageHarness } from './storage-harness.ts'

async function runUntil(world: World, condition: () => boolean, what: string): Promise<void> {
  if (!world.runUntil(condition, 60_000)) throw new RuleBroken(`did not happen within a simulated minute: ${what}`)
}

export async function simulatedEndpoints(
  seed: number,
  network: Partial<NetworkOptions> = {},
): Promise<EndpointHarness> {
  const world = new World(seed, { network })
  return {
    transports: [world.process('a').platform.transport, world.process('b').platform.transport],
    adoptable: async () => world.network.adoptablePair(),
    until: (condition, what) => runUntil(world, condition, what),
    dispose: async () => {},
  }
}

const sure = <T>(result: T | undefined): T => {
  if (result === undefined) throw new RuleBroken('no answer')
  return result
}

export async function simulatedStorage(seed: number, reads: 'synchronous' | 'asynchronous'): Promise<StorageHarness> {
  const world = new World(seed, { disk: { reads } })
  const machine = world.process('a')
  const until = (condition: () => boolean, what: string) => runUntil(world, condition, what)
  const open = async (): Promise<Result<Directory>> => {
    let result: Result<Directory> | undefined
    machine.openDirectory(opened => {
      result = opened
    })
    await until(() => result !== undefined, 'the directory is open')
    return sure(result)
  }
  const opened = async (): Promise<Directory> => {
    const result = await open()
    if (!result.ok) throw result.error
    return result.value
  }
  return {
    crashRounds: 30,
    open: opened,
    openAgain: open,
    async reopen(directory) {
      let closed = false
      directory.close(() => {
        closed = true
      })
      await until(() => closed, 'the directory is closed')
      machine.disk.full = false
      return opened()
    },
    async crash() {
      machine.crash('lost')
      world.run(10)
      machine.restart()
      return opened()
    },
    async kill() {
      machine.crash('kept')
      world.run(10)
      machine.restart()
      return opened()
    },
    failNextSync: () => machine.disk.failNextSync(),
    fillUp: () => {
      machine.disk.full = true
    },
    until,
    dispose: async () => {},
  }
}

export async function simulatedClock(seed: number): Promise<ClockHarness> {
  const world = new World(seed)
  const { clock, random } = world.process('a').platform
  return {
    clock,
    random,
    asHostWork: run => world.after(1, 'host work', run),
    until: (condition, what) => runUntil(world, condition, what),
    dispose: async () => {},
  }
}

export async function simulatedSlots(seed: number): Promise<SlotsHarness> {
  const world = new World(seed)
  const until = (condition: () => boolean, what: string) => runUntil(world, condition, what)
  const process = (name: string): SimulatedProcess => world.process(name, { profile: 'browser' })
  const owners: SimulatedProcess[] = []
  const slots = [sure(process('a').slots), sure(process('b').slots)] as const
  const firstSlot = 2
  const ownerOf = (owner: SimulatedProcess): Owner => ({
    slot: firstSlot + owners.indexOf(owner),
    die: async () => owner.crash('kept'),
  })
  return {
    slots,
    async owner() {
      const owner = process(`owner ${owners.length}`)
      owners.push(owner)
      let opened = false
      owner.directory.openPages('pages', () => {
        opened = true
      })
      await until(() => opened, 'a file')
      return ownerOf(owner)
    },
    async claim(slot) {
      const owner = sure(owners[slot - firstSlot])
      owner.restart()
      let claimed = false
      owner.claimDirectory(() => {
        claimed = true
      })
      // Others run the world.
      while (!claimed) await undefined
      sure(owner.directory)
      return ownerOf(owner)
    },
    freeze: ({ slot }) => owners[slot - firstSlot]?.freeze(),
    until,
    dispose: async () => {},
  }
}
