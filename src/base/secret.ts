/** A room's secret as HarmonyDB makes it: 'hs1_' | 26 characters of RFC 4648 base32 in lower case, 130 random bits. */

const digits = 'abcdefghijklmnopqrstuvwxyz234567'
const prefix = 'hs1_'
const digitsMin = 26
const generated = /^hs1_[a-z2-7]{26,128}$/

/** A secret of 130 random bits, in a form that says so: peers need not stretch it. */
export function generateSecret(random: { fill(bytes: Uint8Array): void }): string {
  const bytes = new Uint8Array(digitsMin)
  random.fill(bytes)
  let secret = prefix
  for (const byte of bytes) secret += digits[byte & 31]!
  return secret
}

export const isGeneratedSecret = (secret: string): boolean => generated.test(secret)
