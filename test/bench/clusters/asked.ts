/** A process of `replication-child.ts`, and questions to it. */
import { type ChildProcess, fork } from 'node:child_process'
import type { Answer, Asks, Question } from '../replication-asks.ts'

const answerMsMax = 10 * 60_000

/** Of all that run. */
const running = new Set<ChildProcess>()
export const killAsked = (): void => {
  for (const child of running) child.kill('SIGKILL')
}

export class Asked {
  private readonly child: ChildProcess
  private readonly waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  private nextId = 1
  private gone: string | undefined

  constructor(script: string, execArgv: readonly string[] = []) {
    this.child = fork(script, [], {
      stdio: ['ignore', 2, 2, 'ipc'],
      execArgv: [...execArgv],
      serialization: 'advanced',
    })
    running.add(this.child)
    this.child.on('message', message => {
      const answer = message as Answer
      const waits = this.waiting.get(answer.id)
      this.waiting.delete(answer.id)
      if ('error' in answer) waits?.reject(new Error(answer.error))
      else waits?.resolve(answer.value)
    })
    this.child.on('close', (status, signal) => {
      running.delete(this.child)
      this.gone = `its process ended with ${signal ?? `status ${status}`}`
      for (const { reject } of this.waiting.values()) reject(new Error(this.gone))
    })
  }

  ask<A extends keyof Asks>(ask: A, argument: Parameters<Asks[A]>[0]): ReturnType<Asks[A]> {
    const id = this.nextId++
    const answered = new Promise((resolve, reject) => {
      if (this.gone !== undefined) return reject(new Error(this.gone))
      const timer = setTimeout(() => reject(new Error(`no answer to ${ask}`)), answerMsMax)
      const settled =
        <T>(settle: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(timer)
          settle(value)
        }
      this.waiting.set(id, { resolve: settled(resolve), reject: settled(reject) })
      this.child.send({ id, ask, with: argument } satisfies Question)
    })
    return answered as ReturnType<Asks[A]>
  }

  /** It does nothing until `thaw`, and does not know that it did nothing. */
  freeze(): void {
    this.child.kill('SIGSTOP')
  }
  thaw(): void {
    this.child.kill('SIGCONT')
  }

  /** `kill -9`; resolves when it is gone. */
  kill(): Promise<void> {
    if (this.gone !== undefined) return Promise.resolve()
    return new Promise(resolve => {
      this.child.on('close', () => resolve())
      this.child.kill('SIGKILL')
    })
  }
}
