/** What the next start needs to know if it finds the store damaged: the cluster in which others have what was in it. */
import type { HarmonyError } from '../base/errors.ts'
import type { ClusterId, PeerId } from '../base/ids.ts'
import type { Configuration, RaftStatus } from '../raft/types.ts'
import { placeOf } from './peer-types.ts'
import { type Store, writeSelf } from './store.ts'

export class Company {
  private readonly store: Store
  private readonly failed: (error: HarmonyError) => void
  private seen: { readonly configuration: Configuration; readonly cluster: ClusterId } | undefined

  constructor(store: Store, failed: (error: HarmonyError) => void) {
    this.store = store
    this.failed = failed
  }

  /** Cheap while nothing changes: it is called with every step of the replica. */
  note(self: PeerId, cluster: ClusterId, status: RaftStatus): void {
    if (status.configuration === this.seen?.configuration && cluster === this.seen.cluster) return
    this.seen = { configuration: status.configuration, cluster }
    const { inConfiguration, hasCompany } = placeOf(self, status)
    const company = inConfiguration && hasCompany ? cluster : undefined
    if (company === this.store.superblock.company) return
    writeSelf(this.store, company, error => {
      if (error !== undefined) this.failed(error)
    })
  }
}
