// Stands in the bundle for packages that Fastify and http-proxy would load for features that are never used here:
// WebSockets, schemas, injected requests.
module.exports = {}
