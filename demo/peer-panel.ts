/** This tab's peer: who it is, what it is in the cluster, how far it has come, and what works in it now. */
import type { ClusterStatus, Status } from '../src/database/types.ts'
import { part, setData, setText } from './dom.ts'
import { formatBytes, formatCount, shortId } from './format.ts'
import type { Situation, Works } from './situation.ts'

export interface PeerPanel {
  update(status: ClusterStatus | undefined, situation: Situation): void
  updateStorage(status: Status): void
}

const answers: Record<Works, string> = { yes: 'answered', wait: 'waiting for a leader', no: 'refused' }

export function createPeerPanel(): PeerPanel {
  const health = part('health', HTMLElement)
  const id = part('peer-id', HTMLElement)
  const role = part('role', HTMLElement)
  const leader = part('leader', HTMLElement)
  const figures = {
    term: part('term', HTMLElement),
    commit: part('commit', HTMLElement),
    applied: part('applied', HTMLElement),
  }
  const works = new Map(
    [...part('works', HTMLUListElement).querySelectorAll('li')].map(item => [item.dataset.work, item] as const),
  )
  const storage = part('storage-line', HTMLElement)

  return {
    update(status, situation) {
      setText(health, situation.label)
      setData(health, 'health', status === undefined ? situation.name : status.health)
      setData(health, 'tone', situation.tone)
      const gone = situation.name === 'dead'
      showWork(works.get('local'), situation.local, gone)
      showWork(works.get('linearizable'), situation.linearizable, gone)
      showWork(works.get('writes'), situation.writes, gone)
      if (status === undefined) return
      setText(id, shortId(status.self))
      setData(id, 'id', status.self)
      id.title = status.self
      const roleName = gone ? 'dead' : status.health === 'left' ? 'left' : status.role
      setText(role, roleName)
      setData(role, 'role', roleName)
      setText(figures.term, formatCount(status.term))
      setText(figures.commit, formatCount(status.commitIndex))
      setText(figures.applied, formatCount(status.appliedIndex))
      setData(figures.applied, 'lag', status.lag > 0 ? 'behind' : 'level')
      setText(
        leader,
        status.leader === undefined ? 'none' : status.leader === status.self ? 'this tab' : shortId(status.leader),
      )
      setData(leader, 'id', status.leader ?? '')
      leader.title = status.leader ?? 'No leader is known here'
    },
    updateStorage(status) {
      const { kind, durability, logBytes } = status.storage
      setText(storage, `Stored in ${storageName(kind)}, ${durability} durability, log ${formatBytes(logBytes)}.`)
    },
  }
}

function showWork(item: HTMLLIElement | undefined, works: Works, gone: boolean): void {
  if (item === undefined) return
  setData(item, 'works', works)
  const word = item.querySelector('em')
  if (word !== null) setText(word, gone ? 'dead' : answers[works])
}

function storageName(kind: string): string {
  if (kind === 'indexeddb') return 'IndexedDB'
  if (kind === 'opfs') return 'private file system'
  return kind === 'memory' ? 'memory only' : kind
}
