/** sqlite-wasm, here or behind a worker; 64 callers' puts also in a hand-made transaction. */
import { together } from '../../stores/store.ts'
import type { Place } from '../task.ts'
import { type Engine, soon } from './engine.ts'
import { openRemote } from './remote.ts'
import { openSqliteHere } from './sqlite-here.ts'

export const createSqliteEngine = async (place: Place): Promise<Engine> => ({
  async open(name) {
    const store = await (place === 'page' ? openRemote('sqlite-wasm', name) : openSqliteHere(name))
    return { ...store, putTogether: together(store.batch, soon) }
  },
})
