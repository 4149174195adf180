/**
 * Linearizable reads without a log entry (thesis, 6.4).
 *
 * A leader may answer "read at the commit index" once it knows that it was still the leader *after* the question came. It
 * learns that from one round of heartbeats: a *round* takes every question that has come so far, and is confirmed when a majority
 * has answered a heartbeat of this round or of a later one. Rounds are numbered 1, 2, … over the life of the object, so that an answer
 * never confirms a round that began after it. Questions wait until the leader has committed an entry of its own term:
 * before that it does not know what its predecessors committed.
 *
 * A follower forwards its questions to the leader, each under the asker's own number, and gives up when the leader changes or
 * an election timeout passes.
 */
import type { Index, PeerId } from '../base/ids.ts'

/** Questions without an answer, at a leader and at a follower each. Beyond it they are refused, and asked again. */
const questionsMax = 16_384
/** Rounds under way. Questions that come meanwhile share the next one. */
const roundsMax = 8

export interface Question {
  /** Undefined: asked by this peer. */
  readonly from: PeerId | undefined
  readonly context: number
}

export interface Answer extends Question {
  readonly index: Index
}

interface Round {
  readonly number: number
  readonly index: Index
  readonly questions: readonly Question[]
}

/** The leader's side. */
export class ReadRounds {
  private waiting: Question[] = []
  private rounds: Round[] = []
  private newest = 0
  private questions = 0

  /** False: too many are waiting. */
  ask(question: Question): boolean {
    if (this.questions >= questionsMax) return false
    this.questions++
    this.waiting.push(question)
    return true
  }

  get canBegin(): boolean {
    return this.waiting.length > 0 && this.hasRoom
  }

  /** One more round may be under way. */
  get hasRoom(): boolean {
    return this.rounds.length < roundsMax
  }

  get hasQuestions(): boolean {
    return this.questions > 0
  }

  /** The newest round under way; 0: none. Heartbeats carry it, so that one that was lost is made good by the next. */
  get context(): number {
    return this.rounds.length === 0 ? 0 : this.newest
  }

  /** Every waiting question goes into a new round. @param commit the commit index now. @returns the round's number. */
  begin(commit: Index): number {
    this.newest++
    this.rounds.push({ number: this.newest, index: commit, questions: this.waiting })
    this.waiting = []
    return this.newest
  }

  /** What waits for a round is answered without one. @param commit the commit index now. */
  takeWaiting(commit: Index): readonly Answer[] {
    const answers = this.waiting.map(question => ({ ...question, index: commit }))
    this.waiting = []
    this.questions -= answers.length
    return answers
  }

  /** What rounds through this number were asked; they are over. */
  confirmed(through: number): readonly Answer[] {
    const answers: Answer[] = []
    while (this.rounds.length > 0 && this.rounds[0]!.number <= through) {
      const round = this.rounds.shift()!
      for (const { from, context } of round.questions) answers.push({ from, context, index: round.index })
    }
    this.questions -= answers.length
    return answers
  }

  /** Leadership is lost: everything that has no answer. */
  abandon(): readonly Question[] {
    const lost = [...this.rounds.flatMap(round => round.questions), ...this.waiting]
    this.rounds = []
    this.waiting = []
    this.questions = 0
    return lost
  }
}

/** The follower's side: what was forwarded to the leader of this term. */
export class ForwardedReads {
  /** Context to the tick in which it was asked; in the order of asking. */
  private readonly asked = new Map<number, number>()

  /** False: too many are waiting. */
  ask(context: number, tick: number): boolean {
    if (this.asked.size >= questionsMax) return false
    this.asked.set(context, tick)
    return true
  }

  /** True if this context waits for an answer; it does no more. */
  answered(context: number): boolean {
    return this.asked.delete(context)
  }

  /** Contexts asked at or before `tick`: they wait no more. */
  expire(tick: number): readonly number[] {
    const late: number[] = []
    for (const [context, at] of this.asked) {
      if (at > tick) break
      late.push(context)
      this.asked.delete(context)
    }
    return late
  }
}
