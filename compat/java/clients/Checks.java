// What the Java programmes share: checks that print "ok NAME" or "failed NAME: reason", and waiting.

import java.util.concurrent.Callable;

final class Checks {
    static final int SECONDS = 60;

    interface Body {
        void run() throws Exception;
    }

    private Checks() {}

    /** Runs one check and prints its line; an exception fails it. */
    static void check(String name, Body body) {
        try {
            body.run();
            System.out.println("ok " + name);
        } catch (Throwable error) {
            System.out.println("failed " + name + ": " + error.toString().replace('\n', ' '));
            error.printStackTrace();
        }
        System.out.flush();
    }

    static void that(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object expected, Object found) {
        that(expected.equals(found), "expected " + expected + ", found " + found);
    }

    /** Waits until the condition is true. */
    static void eventually(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + SECONDS * 1_000_000_000L;
        while (!condition.call()) {
            that(System.nanoTime() < deadline, what + ": not within " + SECONDS + " s");
            Thread.sleep(10);
        }
    }

    /** Asks whoever started this programme to kill the server and to start it again; returns when it serves. */
    static void restart() throws Exception {
        System.out.println("restart");
        System.out.flush();
        that("restarted".equals(Input.LINES.readLine()), "no word of the restart");
    }

    private static final class Input {
        static final java.io.BufferedReader LINES =
                new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
    }
}
