/**
 * What a run of `harmonydb simulate` is made of, as data: the seed of its world, its sizes, and a list of timed faults. A seed draws its own mix
 * of kinds (swarm testing: Groce and others, 2012), so that rare ones also meet alone. The list can be shortened, stored and run again.
 */
import { seededRandom } from '../../../src/base/random.ts'
import type { PeerOptions } from '../../../src/cluster/peer-types.ts'

/** What each kind does, and which fields beside `atMs` it reads. What has `forMs` ends after it. */
export const faultKinds = {
  partition: 'nothing passes between `peers` and the others, for `forMs`',
  flapping: 'one partition after the other, each short; stored as such',
  'one-way': 'nothing goes from `peer` to `peers`, for `forMs`',
  isolate: 'nothing passes between `peer` and the others, for `forMs`',
  crash: '`peer` loses its power, and starts again after `forMs`',
  'crash-all': 'everybody loses power, and starts again after `forMs`',
  'crash-receiver':
    'whoever receives a whole state within `forMs` loses its power in the middle of it, once; it starts again after half a second',
  freeze: '`peer` stands still for `forMs`',
  'reset-links': 'the links between `peer` and `peers` break',
  slow: 'messages take up to `amount` ms, for `forMs`',
  lossy: 'each message is lost, doubled or overtakes others with the chance `amount`, for `forMs`',
  corrupt: 'one to three bits of a message flip with the chance `amount`, for `forMs`',
  transfer: 'the leader hands its leadership over',
  'disk-full': '`peer` has no space left for `forMs`',
  'slow-sync': 'syncs of `peer` take up to `amount` ms more, for `forMs`',
  'fail-sync': 'the next sync of `peer` within `forMs` fails: it stops, and is started again',
  'fail-read': 'the next read of `peer` from its disk within `forMs` fails: where it stops, it is started again',
  rot: '`amount` bits of what `peer` has stored flip while it is down, for `forMs`; 0: while it runs',
  misdirect: 'the next page that `peer` writes within `forMs` lands elsewhere in its file',
  wipe: '`peer` loses its power and all that it has stored, and comes as a new one after `forMs`',
  'clock-rate': 'the clock of `peer` runs `amount` times as fast, for `forMs`',
  'clock-jump': 'the wall clock of `peer` jumps by `amount` ms',
  throttle: 'timers of `peer` fire each `amount` ms only, as in a background tab, for `forMs`',
  newcomer: 'one more peer comes and joins',
  clone:
    'what `peer` has stored is copied while it runs, and another process runs with the copy for `forMs`: it has to stop by itself',
} as const
export type FaultKind = keyof typeof faultKinds

export interface Fault {
  readonly kind: FaultKind
  /** Since everybody joined. */
  readonly atMs: number
  readonly forMs?: number
  /** By number: p0 is 0; or whoever leads when it strikes. */
  readonly peer?: number | 'leader'
  readonly peers?: readonly number[]
  readonly amount?: number
}

export type Sizes = Pick<PeerOptions, 'checkpointBytes' | 'limits' | 'leaseDriftMax'>

export interface Plan {
  readonly seed: number
  readonly peers: number
  /** How long clients and faults go on, in virtual ms. */
  readonly faultMs: number
  readonly checkpointBytes: number
  /** 0: some kilobytes, for bare peers, or the default. */
  readonly messageBytesMax: number
  /** Reads under leases, where clocks may drift so far apart; without it, or 0: none. */
  readonly leaseDriftMax?: number
  /** A leader rests after so many idle ticks; without it, or 0: as usual, which is longer than a run has nothing to do. */
  readonly idleTicks?: number
  readonly schedule: readonly Fault[]
}

export interface Shape {
  readonly peers?: number | undefined
  readonly faultMs?: number | undefined
  /** Faults of these kinds only, all of them. Default: each kind with a chance of about a third. */
  readonly kinds?: readonly FaultKind[] | undefined
}

/** A copy is found out by who reaches the original, and is not promised to be where nobody does: plans with copies cut off, hold up and end nobody. */
const besideClones: readonly FaultKind[] = ['clone', 'transfer', 'newcomer', 'clock-jump', 'slow-sync']
const peersMax = 9
const newcomersMax = 2
const idleTicksMax = 10_000
const restTicksOf = (idleTicks: number): number => idleTicks * 10

export const sizesOf = ({ checkpointBytes, messageBytesMax, leaseDriftMax = 0, idleTicks = 0 }: Plan): Sizes => ({
  checkpointBytes,
  leaseDriftMax: leaseDriftMax > 0 ? leaseDriftMax : undefined,
  limits: {
    ...(messageBytesMax > 0 ? { messageBytesMax } : {}),
    ...(idleTicks > 0 ? { idleTicks, restTicks: restTicksOf(idleTicks) } : {}),
  },
})

export function drawPlan(seed: number, shape: Shape = {}): Plan {
  const random = seededRandom(`${seed}/plan`)
  const drawn = random.between(3, 5)
  const peers = shape.peers ?? drawn
  const faultMs = shape.faultMs ?? 20_000
  const kinds = Object.keys(faultKinds) as FaultKind[]
  const drawnKinds = kinds.filter(() => random.chance(0.35))
  const chosen = shape.kinds ?? drawnKinds
  const isCloned = chosen.includes('clone') && (shape.kinds !== undefined || random.chance(0.3))
  const apart = chosen.filter(kind => (isCloned ? besideClones.includes(kind) : kind !== 'clone'))
  const mix = apart.length > 0 ? apart : (['crash'] as const)
  const checkpointBytes = random.pick([512, 1024, 4096, 64 * 1024])
  const messageBytesMax = random.chance(0.5) ? 40 : 0
  const schedule: Fault[] = []
  const some = (): number[] => Array.from({ length: peers }, (_, n) => n).filter(() => random.chance(0.5))
  const target = (): number | 'leader' => (random.chance(0.5) ? 'leader' : random.below(peers))
  let newcomers = 0
  for (let atMs = random.between(200, 2500); atMs < faultMs; atMs += random.between(200, 2500)) {
    const kind = random.pick(mix)
    const forMs = random.between(300, 5000)
    switch (kind) {
      case 'partition':
        schedule.push({ kind, atMs, forMs, peers: some() })
        break
      case 'flapping': {
        const side = some()
        for (let n = 0; n < 4; n++) schedule.push({ kind: 'partition', atMs: atMs + n * 400, forMs: 200, peers: side })
        break
      }
      case 'one-way':
      case 'reset-links':
        schedule.push({ kind, atMs, forMs, peer: random.below(peers), peers: some() })
        break
      case 'isolate':
      case 'crash':
      case 'freeze':
      case 'disk-full':
      case 'fail-sync':
      case 'wipe':
        schedule.push({ kind, atMs, forMs, peer: target() })
        break
      case 'slow':
        schedule.push({ kind, atMs, forMs, amount: random.between(50, 600) })
        break
      case 'lossy':
        schedule.push({ kind, atMs, forMs, amount: 0.1 })
        break
      case 'corrupt':
        schedule.push({ kind, atMs, forMs, amount: random.pick([0.001, 0.01, 0.1]) })
        break
      case 'fail-read': {
        const peer = random.below(peers)
        schedule.push({ kind, atMs, forMs, peer })
        // A start reads most.
        if (random.chance(0.7)) schedule.push({ kind: 'crash', atMs: atMs + 10, forMs: 100, peer })
        break
      }
      case 'misdirect': {
        const peer = random.below(peers)
        schedule.push({ kind, atMs, forMs, peer })
        // What is in memory is read again from the disk after a crash only, as a rule.
        if (random.chance(0.7)) schedule.push({ kind: 'crash', atMs: atMs + forMs, forMs: 300, peer })
        break
      }
      case 'slow-sync':
        schedule.push({ kind, atMs, forMs, peer: target(), amount: random.pick([20, 200, 2000]) })
        break
      case 'rot': {
        const isDown = random.chance(0.5)
        schedule.push({
          kind,
          atMs,
          forMs: isDown ? forMs : 0,
          peer: target(),
          amount: random.pick([1, 4, 16, 64]),
        })
        break
      }
      case 'clock-rate':
        schedule.push({ kind, atMs, forMs, peer: target(), amount: random.pick([0.5, 0.9, 1.1, 2]) })
        break
      case 'clock-jump':
        schedule.push({ kind, atMs, peer: target(), amount: random.pick([-3_600_000, -5000, 5000, 3_600_000]) })
        break
      case 'throttle':
        // As in a background tab, or as in one that has been there for long: then ticks come up to a minute late.
        if (random.chance(0.6)) schedule.push({ kind, atMs, forMs, peer: target(), amount: 1000 })
        else
          schedule.push({
            kind,
            atMs,
            forMs: random.between(Math.min(5000, faultMs), faultMs),
            peer: target(),
            amount: 60_000,
          })
        break
      case 'newcomer':
        if (newcomers++ < newcomersMax) schedule.push({ kind, atMs })
        break
      case 'crash-all':
      case 'crash-receiver':
        schedule.push({ kind, atMs, forMs })
        break
      case 'clone':
        // The time that it may take to find the others.
        schedule.push({ kind, atMs, forMs: random.between(10_000, 15_000), peer: target() })
        break
      case 'transfer':
        schedule.push({ kind, atMs })
        break
    }
  }
  schedule.sort((a, b) => a.atMs - b.atMs)
  // As far as the clocks above drift apart.
  const leaseDriftMax = random.chance(0.5) ? 4 : 0
  const idleTicks = random.pick([0, 1, 4])
  return { seed, peers, faultMs, checkpointBytes, messageBytesMax, leaseDriftMax, idleTicks, schedule }
}

/** @returns A plan, or what is wrong with it. */
export function decodePlan(value: unknown): Plan | string {
  if (!isRecord(value)) return 'a plan is an object'
  const bounds = {
    seed: [0, Number.MAX_SAFE_INTEGER],
    peers: [1, peersMax],
    faultMs: [0, 86_400_000],
    checkpointBytes: [1, 2 ** 30],
    messageBytesMax: [0, 2 ** 20],
  } as const
  for (const [name, [least, most]] of Object.entries(bounds)) {
    if (!isWithin(value[name], least, most)) return `${name} is a number from ${least} to ${most}`
  }
  const { schedule, leaseDriftMax = 0, idleTicks = 0 } = value
  if (!isWithin(leaseDriftMax, 0, 4)) return 'leaseDriftMax is a number from 0 to 4'
  if (!isWithin(idleTicks, 0, idleTicksMax)) return `idleTicks is a number from 0 to ${idleTicksMax}`
  if (!Array.isArray(schedule) || schedule.length > 10_000) return 'schedule is a list of at most 10000 faults'
  for (const [at, fault] of schedule.entries()) {
    const wrong = isRecord(fault) ? wrongIn(fault) : 'a fault is an object'
    if (wrong !== undefined) return `schedule[${at}]: ${wrong}`
  }
  return value as unknown as Plan
}

const needs: Readonly<Record<FaultKind, readonly ('forMs' | 'peer' | 'peers' | 'amount')[]>> = {
  partition: ['forMs', 'peers'],
  flapping: [],
  'one-way': ['forMs', 'peer', 'peers'],
  isolate: ['forMs', 'peer'],
  crash: ['forMs', 'peer'],
  'crash-all': ['forMs'],
  'crash-receiver': ['forMs'],
  freeze: ['forMs', 'peer'],
  'reset-links': ['peer', 'peers'],
  slow: ['forMs', 'amount'],
  lossy: ['forMs', 'amount'],
  corrupt: ['forMs', 'amount'],
  transfer: [],
  'disk-full': ['forMs', 'peer'],
  'slow-sync': ['forMs', 'peer', 'amount'],
  'fail-sync': ['forMs', 'peer'],
  'fail-read': ['forMs', 'peer'],
  rot: ['forMs', 'peer', 'amount'],
  misdirect: ['forMs', 'peer'],
  wipe: ['forMs', 'peer'],
  'clock-rate': ['forMs', 'peer', 'amount'],
  'clock-jump': ['peer', 'amount'],
  throttle: ['forMs', 'peer', 'amount'],
  newcomer: [],
  clone: ['forMs', 'peer'],
}
const amounts: Readonly<Partial<Record<FaultKind, readonly [number, number]>>> = {
  slow: [6, 60_000],
  lossy: [0, 0.5],
  corrupt: [0, 0.5],
  'slow-sync': [0, 60_000],
  rot: [1, 100_000],
  'clock-rate': [0.01, 100],
  throttle: [1, 600_000],
}

function wrongIn(fault: Readonly<Record<string, unknown>>): string | undefined {
  const { kind, atMs, forMs, peer, peers, amount } = fault
  if (typeof kind !== 'string' || !Object.hasOwn(needs, kind) || kind === 'flapping') return `no kind "${String(kind)}"`
  if (!isWithin(atMs, 0, 86_400_000)) return 'atMs is a number from 0 to 86400000'
  const [least, most] = amounts[kind as FaultKind] ?? [-1e12, 1e12]
  for (const field of needs[kind as FaultKind]) {
    if (field === 'forMs' && !isWithin(forMs, 0, 86_400_000)) return 'forMs is a number from 0 to 86400000'
    if (field === 'peer' && peer !== 'leader' && !isWithin(peer, 0, peersMax - 1)) return 'peer is a number or "leader"'
    if (field === 'peers' && !(Array.isArray(peers) && peers.every(one => isWithin(one, 0, peersMax - 1))))
      return 'peers is a list of numbers'
    if (field === 'amount' && !isWithin(amount, least, most)) return `amount is a number from ${least} to ${most}`
  }
  return undefined
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isWithin = (value: unknown, least: number, most: number): boolean =>
  typeof value === 'number' && value >= least && value <= most
