/** Files that the bundler serves as they are and names by their address. */
declare module '*.pbf?url' {
  const address: string
  export default address
}
