// The public interface of this package, for programs that build and run the proxy themselves.
export type { Config } from './config/config.ts'
export { loadConfig } from './config/load.ts'
export type { Logger } from './observe/log.ts'
export { buildServer, type ProxyServer, type ServerDeps } from './server/build-server.ts'
