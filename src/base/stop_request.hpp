#pragma once
// One idempotent request to stop: SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 and the time limit are the same to every loop
// that looks. Repeated signals change nothing, but for a second Ctrl-C on a terminal; that and SIGQUIT end at once. A
// rank knows its own request only: ranks agree on it where they meet.

namespace hrm {

/// Installs the handlers; called once before the first long loop.
void watch_stop_signals();

/// The request is made at this time (seconds since 1970) if not before; replaces the last such time.
void stop_at(double time);

/// True after the first of those signals, or at that time.
bool stop_requested();

/// Name of the signal that arrived, for messages; "" where none has.
const char* stop_signal();

/// InputError(stopped): the work in hand is given up.
[[noreturn]] void fail_stopped();

/// The same, if a stop is requested: what long work calls between its pieces.
void look_for_stop();

/// Seconds since 1970.
double wall_clock();

}  // namespace hrm
