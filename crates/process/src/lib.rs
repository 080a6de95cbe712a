//! One child process on Linux: own group, dies with its parent, bounded output, stop cascade, resource usage.
