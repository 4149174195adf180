/** What Node asks of a page, and what the page answers. */
import type { Measured } from '../measure.ts'
import type { CaseName } from '../storage-cases.ts'

/** Where the calls come from: the page, or the worker that the engine runs in. */
export type Place = 'page' | 'worker'

export type BrowserCase = Exclude<CaseName, 'disk'> | 'start'

export interface BrowserTask {
  /** Load a store; open it and measure the cases; load and write until the browser is killed; open what is there. */
  readonly kind: 'load' | 'measure' | 'write-until-killed' | 'reopen'
  readonly place: Place
  readonly engine: string
  readonly cases: readonly BrowserCase[]
  readonly records: number
  readonly round: number
  readonly seconds: number
}

export type BrowserReport =
  | {
      readonly type: 'measured'
      readonly case: CaseName | 'start'
      readonly engine: string
      readonly measured: Measured
    }
  /** Of `write-until-killed`: now it may be. */
  | { readonly type: 'writing' }

export type Ending = { readonly type: 'done' } | { readonly type: 'failed'; readonly message: string }

/** What the page puts on its window, and Node there for the page. */
export interface BenchPage {
  runTask(task: BrowserTask): Promise<Ending>
  tell(report: BrowserReport): Promise<void>
}
