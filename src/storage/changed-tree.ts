/** The seam between a change of a tree (`tree-change.ts`) and who makes it: the owner alone, or several threads at once. */
import type { KeyPlaces } from './key-places.ts'
import type { Chains } from './overflow.ts'
import type { Pages, RestOrder } from './page.ts'
import type { PageId } from './page-source.ts'

/** What is changed: the owner's tree (`tree-core.ts`), or the same tree as another thread sees it (`shared-writer.ts`). */
export interface ChangedTree extends RestOrder {
  root: PageId
  readonly pages: Pages
  readonly chains: Chains
  /** Undefined where others change the tree at the same time. */
  readonly places?: KeyPlaces
  /** Nothing leads to the chain any more. */
  unlink(first: PageId, total: number): void
}

/** The pages that one change has its hands on: pinned by the owner (`tree-held-pages.ts`), latched by others (`latched-pages.ts`). */
export interface ChangeHands {
  /** Returns the frame. @throws PageMiss */
  hold(page: PageId): number
  /** Makes sure of `made` new pages, before anything is changed. */
  reserve(made: number): void
  /** From here on the page may change. */
  edit(page: PageId, frame: number): void
  create(kind: number, level: number): { page: PageId; base: number }
  /** A chain's page came to be. */
  made(page: PageId): void
  /** The tree does not use the page any more. */
  drop(page: PageId): void
  /** The change is through, or was given up before it changed anything. */
  finish(): void
}
