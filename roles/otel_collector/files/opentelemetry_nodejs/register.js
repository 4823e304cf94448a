// Loads OpenTelemetry's agent into a service (otel_collector_instrumented_services). Ends a service that has no handler of SIGTERM, once the
// agent has sent what it has: the agent's own handler only sends, so that systemd would wait until its time-out and kill the service.
'use strict';
const before = process.listeners('SIGTERM');
require('@opentelemetry/auto-instrumentations-node/register');
for (const send of process.listeners('SIGTERM').filter((listener) => !before.includes(listener))) {
  process.removeListener('SIGTERM', send);
  process.on('SIGTERM', async function end() {
    await send();
    process.removeListener('SIGTERM', end);
    if (process.listenerCount('SIGTERM') === 0) process.kill(process.pid, 'SIGTERM');
  });
}
