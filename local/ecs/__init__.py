"""An ECS of this machine: tasks are sandboxd processes, each on a loopback address of its own."""
