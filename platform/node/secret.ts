/** A new room's secret from this host's randomness. */
import { secretFrom } from '../../src/index.ts'
import { nodeRandom } from './host.ts'

/** A new secret for a room: 130 random bits as text. Share it with those who may join, and only with them. */
export const generateSecret = (): string => secretFrom(nodeRandom)
