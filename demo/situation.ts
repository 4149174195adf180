/**
 * In which situation this tab is, in words, and what works in it. A pure function of what the page knows, so that the
 * banner, the pill and the list of what works never disagree.
 */
import type { ClusterStatus } from '../src/database/types.ts'

/** What the page did or was told to do, beside what the database reports. */
export type Phase = 'opening' | 'joining' | 'member' | 'leaving' | 'conflict' | 'failed' | 'dead'
export type Tone = 'calm' | 'good' | 'warn' | 'bad'
export type Works = 'yes' | 'wait' | 'no'

export interface Situation {
  /** Stable, for tests and styles. */
  readonly name: Phase | ClusterStatus['health'] | 'cut'
  readonly label: string
  readonly tone: Tone
  /** Of the banner; undefined where nothing needs to be said. */
  readonly title: string | undefined
  readonly text: string
  readonly local: Works
  readonly linearizable: Works
  readonly writes: Works
}

export interface Known {
  readonly phase: Phase
  readonly cut: boolean
  readonly status: ClusterStatus | undefined
  /** What went wrong, for `conflict` and `failed`. */
  readonly problem: string
}

const all = { local: 'yes', linearizable: 'yes', writes: 'yes' } as const
const none = { local: 'no', linearizable: 'no', writes: 'no' } as const
const localOnly = { local: 'yes', linearizable: 'no', writes: 'no' } as const
const waiting = { local: 'yes', linearizable: 'wait', writes: 'wait' } as const

export function situationOf(known: Known): Situation {
  switch (known.phase) {
    case 'opening':
      return say('opening', 'Opening', 'calm', 'Opening', 'Starting the database in a worker of this tab.', none)
    case 'dead':
      return say(
        'dead',
        'Dead',
        'bad',
        'This peer is dead',
        'Its worker was terminated in the middle of whatever it did, without a goodbye. The others notice by its silence and, if it led, elect another leader. Revive it: it comes back as the same peer, with its data.',
        none,
      )
    case 'failed':
      return say('failed', 'Failed', 'bad', 'The database did not open or join', known.problem, none)
    case 'conflict':
      return say(
        'conflict',
        'Conflict',
        'bad',
        'This tab and the room both hold data',
        `${known.problem} Two histories are never merged silently. This tab goes on alone with its own copy; give that up to join, or choose another room.`,
        known.status?.health === 'solo' || known.status?.health === 'ok' ? all : localOnly,
      )
    case 'leaving':
      return say('leaving', 'Leaving', 'calm', 'Leaving', 'Handing over and saying goodbye.', localOnly)
    case 'joining':
    case 'member':
      return situationOfMember(known)
  }
}

function situationOfMember({ phase, cut, status }: Known): Situation {
  const health = status?.health
  if (cut && health !== 'left')
    return say(
      'cut',
      'Cut off',
      'bad',
      'This tab is cut off',
      'Frames to and from the others are dropped. Reads set to “local” still answer from this replica; linearizable reads and writes are refused with NO_QUORUM rather than answered wrongly. Nothing is lost: heal the cut and it catches up.',
      localOnly,
    )
  if (phase === 'joining' && (health === undefined || health === 'solo'))
    return say(
      'joining',
      'Joining',
      'calm',
      'Looking for the room',
      'Asking around for other members before founding anything.',
      waiting,
    )
  switch (health) {
    case undefined:
      return say('opening', 'Opening', 'calm', 'Opening', 'Starting the database in a worker of this tab.', none)
    case 'left':
      return say(
        'left',
        'Left',
        'warn',
        'This peer has left the cluster',
        'It is no longer counted among the voters. What it held is still here to read; it hears of nothing new.',
        localOnly,
      )
    case 'no-quorum':
      return say(
        'no-quorum',
        'No quorum',
        'bad',
        'No quorum: a majority of the voters cannot be reached',
        'Reads set to “local” still answer from this replica. Linearizable reads and writes are refused with NO_QUORUM until enough members are back.',
        localOnly,
      )
    case 'electing':
      return say('electing', 'Electing', 'warn', undefined, '', waiting)
    case 'ok':
      return say('ok', 'Healthy', 'good', undefined, '', all)
    case 'solo':
      return say('solo', 'Alone', 'good', undefined, '', all)
  }
}

function say(
  name: Situation['name'],
  label: string,
  tone: Tone,
  title: string | undefined,
  text: string,
  works: Pick<Situation, 'local' | 'linearizable' | 'writes'>,
): Situation {
  return { name, label, tone, title, text, ...works }
}
