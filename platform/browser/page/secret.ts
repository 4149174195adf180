/** A new room's secret from this host's randomness. */
import { generateSecret as secretFrom } from '../../../src/base/secret.ts'

/** A new secret for a room: 130 random bits as text. Share it with those who may join, and only with them. */
export const generateSecret = (): string =>
  secretFrom({ fill: bytes => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>) })
