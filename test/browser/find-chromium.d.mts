/** What `find-chromium.mjs` exports; it is plain JavaScript because it runs before anything is installed. */
export const chromiumAdvice: string
/** The path of a Chromium that is here, or undefined. */
export function findChromium(): string | undefined
/** Installs one where the system offers it; its path, or undefined. */
export function installChromium(): string | undefined
