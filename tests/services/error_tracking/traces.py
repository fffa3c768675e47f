"""Stack traces of many runtimes: text, types and messages of the chain, and where it began."""

TRACES = {
    "python": (
        "Traceback (most recent call last):\n"
        '  File "/app/db.py", line 10, in connect\n'
        '    raise OSError("refused")\n'
        "OSError: refused\n"
        "\n"
        "The above exception was the direct cause of the following exception:\n"
        "\n"
        "Traceback (most recent call last):\n"
        '  File "/app/main.py", line 5, in main\n'
        "    connect()\n"
        "    ~~~~~~~^^\n"
        '  File "/app/venv/lib/python3.11/site-packages/req/api.py", line 55, in get\n'
        "    raise DbError\n"
        "shop.errors.DbError: cannot connect to 10.0.0.1:5432\n",
        [("shop.errors.DbError", "cannot connect to 10.0.0.1:5432"), ("OSError", "refused")],
        ("connect", "/app/db.py", 10),
    ),
    "java": (
        'Exception in thread "main" java.lang.RuntimeException: order 12\n'
        "\tat com.acme.Main.run(Main.java:12)\n"
        "\tat java.base/java.lang.Thread.run(Thread.java:840)\n"
        "Caused by: java.sql.SQLException: timeout: 30s\n"
        "\tat org.postgresql.Driver.connect(Driver.java:5)\n"
        "\tat com.acme.Db.open(Db.java:7)\n"
        "\t... 12 more\n",
        [("java.lang.RuntimeException", "order 12"), ("java.sql.SQLException", "timeout: 30s")],
        ("com.acme.Db.open", "Db.java", 7),
    ),
    "node": (
        "TypeError: Cannot read properties of undefined (reading 'id')\n"
        "    at getUser (/srv/app/user.js:12:15)\n"
        "    at async Promise.all (index 0)\n"
        "    at /srv/app/index.js:3:1\n"
        "    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)\n",
        [("TypeError", "Cannot read properties of undefined (reading 'id')")],
        ("getUser", "/srv/app/user.js", 12),
    ),
    "go": (
        "panic: runtime error: index out of range [5] with length 3\n"
        "\n"
        "goroutine 1 [running]:\n"
        "panic({0x45e0a0, 0xc00001c0a8})\n"
        "\t/usr/local/go/src/runtime/panic.go:884 +0x212\n"
        "main.(*Server).handle(0xc000012345, {0x1, 0x2})\n"
        "\t/app/server.go:42 +0x1d\n"
        "main.main()\n"
        "\t/app/main.go:8 +0x25\n",
        [("panic", "runtime error: index out of range [5] with length 3")],
        ("main.(*Server).handle", "/app/server.go", 42),
    ),
    "dotnet": (
        "Unhandled exception. System.InvalidOperationException: Sequence contains no elements\n"
        "   at System.Linq.ThrowHelper.ThrowNoElementsException()\n"
        "   at Acme.Orders.Total(List`1 lines) in /src/Orders.cs:line 31\n"
        "   at Acme.Program.Main(String[] args) in /src/Program.cs:line 9\n",
        [("System.InvalidOperationException", "Sequence contains no elements")],
        ("Acme.Orders.Total", "/src/Orders.cs", 31),
    ),
    "ruby": (
        "app.rb:3:in `divide': divided by 0 (ZeroDivisionError)\n\tfrom app.rb:7:in `<main>'\n",
        [("ZeroDivisionError", "divided by 0")],
        ("divide", "app.rb", 3),
    ),
    "php": (
        "PHP Fatal error:  Uncaught Exception: boom in /var/www/a.php:3\n"
        "Stack trace:\n"
        "#0 /var/www/a.php(9): pay()\n"
        "#1 {main}\n",
        [("Exception", "boom in /var/www/a.php:3")],
        ("pay", "/var/www/a.php", 9),
    ),
    "rust": (
        "thread 'main' panicked at src/main.rs:2:5:\n"
        "out of stock\n"
        "stack backtrace:\n"
        "   0: rust_begin_unwind\n"
        "             at /rustc/abc/library/std/src/panicking.rs:697:5\n"
        "   1: core::panicking::panic_fmt\n"
        "             at /rustc/abc/library/core/src/panicking.rs:75:14\n"
        "   2: demo::work\n"
        "             at ./src/main.rs:2:5\n"
        "   3: demo::main\n"
        "             at ./src/main.rs:6:5\n",
        [("panic", "out of stock")],
        ("demo::work", "./src/main.rs", 2),
    ),
}
