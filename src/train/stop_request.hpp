#pragma once
// One idempotent request to stop: SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 all set the same flag, which every loop reads
// and the step's scalar reduction shares. Repeated signals change nothing, but for a second
// Ctrl-C on a terminal; that and SIGQUIT end at once.

namespace hrm::train {

/// Installs the handlers; called once before the first long loop.
void watch_stop_signals();

/// True after the first of those signals.
bool stop_requested();

/// Name of the signal that arrived, for messages; "" before.
const char* stop_signal();

}  // namespace hrm::train
