/** The one function that is used of a package without types. */
declare module 'fs-native-extensions' {
  /** Takes an exclusive lock on the whole file, or says that somebody has it. It goes with the descriptor or its process. */
  export function tryLock(file: number): boolean
}
